"""YAML text -> validated model; every pydantic error becomes `path:line:column: problem (mend)`."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from firmware_cfg.base import ConfigModel
from firmware_cfg.errors import ConfigError, ConfigErrors
from firmware_cfg.names import suggest
from firmware_cfg.problems import MUST, STATED
from firmware_cfg.yaml_tree import KeyPath, LocatedYaml, parse_located_yaml, read_config_bytes

__all__ = [
    "KeyPath",
    "LocatedYaml",
    "load_model",
    "load_model_text",
    "parse_located_yaml",
    "read_config_bytes",
    "validate_located",
]

Model = TypeVar("Model", bound=BaseModel)

_WANTED = {
    "string_type": "text",
    "path_type": "a path",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def load_model(path: str | Path, model: type[Model]) -> Model:
    """Read and validate a file. Raises ConfigErrors. Relative paths in it are taken from its own folder."""
    return load_model_text(read_config_bytes(path), str(path), model, base=Path(path).parent)


def load_model_text(text: str | bytes, name: str, model: type[Model], *, base: Path | None = None) -> Model:
    """Validate YAML that did not come from a file (a list sent over MQTT); errors call it `name`.

    Relative paths are resolved against `base`, and left as they are without one. Raises ConfigErrors.
    """
    return validate_located(parse_located_yaml(text, name), model, base=base)


def validate_located(located: LocatedYaml, model: type[Model], *, base: Path | None = None) -> Model:
    """Validate data that is already parsed. Raises ConfigErrors in the order of the file."""
    try:
        # Through JSON, because strict mode takes lists for tuples only there.
        return model.model_validate_json(
            json.dumps(located.data), strict=True, context={"base": base}, by_alias=True, by_name=False
        )
    except ValidationError as error:
        # A default that is made from another field adds an error of its own when that field is wrong.
        details = [d for d in error.errors(include_url=False) if d["type"] != "default_factory_not_called"]
        errors = [_located_error(located, model, detail) for detail in details]
        raise ConfigErrors(sorted(errors, key=lambda e: (e.line, e.column))) from error


def _located_error(located: LocatedYaml, model: type[BaseModel], detail: ErrorDetails) -> ConfigError:
    loc: KeyPath = detail["loc"]
    kind, context = detail["type"], detail.get("ctx", {})
    about_key = kind == "extra_forbidden" or loc[-1:] == ("[key]",)
    path: KeyPath = ()
    for part in loc:  # some parts are not in the file: the branch of a union, a key that is missing
        if located.has((*path, part)):
            path = (*path, part)
    if about_key:
        place = located.key_place(path)
    else:
        place = located.value_place(path, max(0, context.get("column", 0) - 1))
    problem, mend = _sentence(detail, path, model)
    return ConfigError(located.name, place.line, place.column, problem, mend)


def _sentence(detail: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> tuple[str, str]:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    subject = _subject(path)
    # Somebody may have put the password where its variable or file should be named.
    got = "something else" if subject.startswith("password") else _shown(value)
    if kind == STATED:
        return context["problem"], context["mend"]
    if kind == MUST:
        return f"{subject} must {context['problem']}, got {got}", context["mend"]
    if kind == "missing":
        return f"{detail['loc'][-1]} is missing", ""
    if kind == "extra_forbidden":
        return f"unknown key {subject}", _key_mend(path, model)
    if kind == "literal_error":
        wanted = context["expected"].replace("'", "")
        hint = suggest(value, wanted.replace(" or ", ", ").split(", ")) if isinstance(value, str) else ""
        return f"{subject} must be {wanted}, got {got}", hint if hint.startswith("did you") else ""
    if kind in _WANTED:
        mend = "put it in quotes" if kind == "string_type" and not isinstance(value, (dict, list)) else ""
        return f"{subject} must be {_WANTED[kind]}, got {got}", mend if value is not None else ""
    # What pydantic says of its own constraints reads well enough: "Input should be greater than 0".
    said = detail["msg"].replace("Input should", "must", 1)
    return f"{subject} {said[:1].lower()}{said[1:]}, got {got}", ""


def _subject(path: KeyPath) -> str:
    """The last name of a path with the numbers after it, from 0: `gate[1][0]`."""
    numbers = ""
    for part in reversed(path):
        if isinstance(part, str):
            return part + numbers
        numbers = f"[{part}]{numbers}"
    return "the file"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _key_mend(loc: KeyPath, model: type[BaseModel]) -> str:
    owner: Any = model
    for part in loc[:-1]:
        owner = _below(owner, part)
    key = str(loc[-1])
    for cls in _models(owner):
        habits = cls.habit_mends if issubclass(cls, ConfigModel) else {}
        names = [info.alias or name for name, info in cls.model_fields.items()]
        return habits.get(key) or suggest(key, names)
    return ""


def _below(annotation: Any, part: str | int) -> Any:
    """The annotation of the field or item `part` of something annotated as `annotation`, or None."""
    for cls in _models(annotation):
        for name, info in cls.model_fields.items():
            if part in (name, info.alias):
                return info.annotation
    for option in _options(annotation):
        args = get_args(option)
        if get_origin(option) is tuple and args:
            return args[0] if args[-1] is Ellipsis or not isinstance(part, int) else args[part]
        if get_origin(option) is dict:
            return args[1]
    return None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            yield option


def _options(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _options(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from _options(option)
    else:
        yield annotation
