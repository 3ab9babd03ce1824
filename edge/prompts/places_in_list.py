"""Where a prompt list's sentences stand in its file, for errors that name line and column."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge.prompts.text_encoder import TextTooLong, too_long_problem
from firmware_cfg.errors import ConfigError, ConfigErrors
from firmware_cfg.located_yaml import LocatedYaml, parse_located_yaml, read_config_bytes
from firmware_cfg.prompt_list import LoadedPromptList, PromptList


def too_long_errors(loaded: LoadedPromptList, data: bytes | None, error: TextTooLong) -> ConfigErrors:
    """The error at the places in the list where its sentences stand."""
    tokens = dict(error.texts)
    located = where_in(loaded, data)
    errors = []
    for key, name, text in sentences_of(loaded.model):
        if text in tokens:
            line, column = place_of(located, key)
            problem = f"{name}: {too_long_problem(text, tokens[text], error.limit)}"
            mend = "shorten it, or split it into several"
            errors.append(ConfigError(loaded.path, line, column, problem, mend))
    return ConfigErrors(errors)


def sentences_of(prompt_list: PromptList) -> list[tuple[tuple[str | int, ...], str, str]]:
    """(key path, name for a message, text) of every sentence."""
    found: list[tuple[tuple[str | int, ...], str, str]] = []
    for number, prompt in enumerate(prompt_list.prompts):
        for place, text in enumerate(prompt.text):
            found.append((("prompts", number, "text", place), f"prompt {prompt.id}", text))
    for place, text in enumerate(prompt_list.background):
        found.append((("background", place), "background", text))
    return found


def where_in(loaded: LoadedPromptList, data: bytes | None) -> LocatedYaml | None:
    """The list with its places; None where it is not from a file, or its file has changed since."""
    try:
        if data is None:
            if not Path(loaded.path).is_file():
                return None
            data = read_config_bytes(loaded.path)
        if hashlib.sha256(data).hexdigest() != loaded.sha256:
            return None
        return parse_located_yaml(data, loaded.path)
    except ConfigErrors:  # gone or rewritten between the two looks at it
        return None


def place_of(located: LocatedYaml | None, key: tuple[str | int, ...]) -> tuple[int, int]:
    """Line and column of a value, (0, 0) where they are not known."""
    if located is None:
        return 0, 0
    # One text may stand there without a list around it.
    place = located.value_place(key if located.has(key) else key[:-1])
    return place.line, place.column
