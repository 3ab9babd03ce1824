"""Numbers and sentences put into a prompt list's own text: comments, order and layout stay as they are."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from edge.files import write_atomically
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.located_yaml import read_config_bytes
from firmware_cfg.prompt_list import LoadedPromptList, PromptList, load_prompt_bytes

NUMBERS = ("threshold", "review_below", "bias", "temperature")
"""What is written into a prompt; only where it differs from what the list says."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class _Edit:
    """Characters `begin` to `end` of the text become `text`."""

    begin: int
    end: int
    text: str


def edited(data: bytes, name: str, model: PromptList) -> bytes:
    """The list's text, changed where its prompts' NUMBERS or its background differ from `model`.

    Args:
        data: the list as it is.
        name: of its file, for errors.
        model: the list as it shall be: the same prompts, and the same background with sentences added.

    Raises:
        RemoteclipError: the text is written in a way (anchors, say) in which this cannot be done safely.
        ConfigErrors: `data` is no valid list.
    """
    before = load_prompt_bytes(data, name).model
    mark = _BOM if data.startswith(_BOM) else b""
    text = data[len(mark) :].decode("utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):  # a list that is valid is a mapping
        raise _unsafe(name)
    newline = "\r\n" if "\r\n" in text else "\n"
    edits: list[_Edit] = []
    prompts = _value(root, "prompts")
    assert isinstance(prompts, yaml.SequenceNode)
    for node, old, new in zip(prompts.value, before.prompts, model.prompts, strict=True):
        for key in NUMBERS:
            if getattr(old, key) != getattr(new, key):
                edits.append(_number(text, node, key, f"{getattr(new, key):g}", newline))
    added = model.background[len(before.background) :]
    if added:
        edits.append(_background(text, root, added, newline))
    # From the end, so that places before an edit stay true; at one place the first edit comes first.
    for _, edit in sorted(enumerate(edits), key=lambda item: (item[1].begin, item[0]), reverse=True):
        text = text[: edit.begin] + edit.text + text[edit.end :]
    result = mark + text.encode("utf-8")
    if _said(result, name) != model:
        raise _unsafe(name)
    return result


def difference(before: bytes, after: bytes, name: str, what: str = "tuned") -> str:
    """Unified diff of two versions of a list, the second named `what`; empty where they are the same."""
    old, new = (data.decode("utf-8-sig").splitlines() for data in (before, after))
    return "\n".join(difflib.unified_diff(old, new, name, f"{name} ({what})", lineterm="", n=2))


def write_back(loaded: LoadedPromptList, data: bytes) -> None:
    """Replace a list's file as a whole, unless somebody changed it since it was read.

    Raises:
        RemoteclipError: somebody did, or it cannot be written.
        ConfigErrors: `data` is no valid list; the file is untouched.
    """
    load_prompt_bytes(data, loaded.path)
    path = Path(loaded.path).resolve()  # a link stays one
    if hashlib.sha256(read_config_bytes(path)).hexdigest() != loaded.sha256:
        raise RemoteclipError(
            f"{loaded.path}: was changed meanwhile, nothing is written (run the command again)"
        )
    try:
        write_atomically(path, data)
    except OSError as error:
        raise RemoteclipError(
            f"{loaded.path}: cannot be written: {error.strerror} (check its permissions)"
        ) from error


def _said(data: bytes, name: str) -> PromptList | None:
    try:
        return load_prompt_bytes(data, name).model
    except RemoteclipError:
        return None


def _unsafe(name: str) -> RemoteclipError:
    return RemoteclipError(
        f"{name}: is written in a way that cannot be edited safely (anchors?): put the changes in by hand"
    )


def _value(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    for key_node, value in node.value:
        if key_node.value == key:
            found: yaml.Node = value
            return found
    return None


def _number(text: str, prompt: yaml.MappingNode, key: str, number: str, newline: str) -> _Edit:
    present = _value(prompt, key)
    if present is not None:
        return _Edit(present.start_mark.index, present.end_mark.index, number)
    # Beside what belongs to it, and never after the alerts, where nobody looks for it.
    after = next(
        pair
        for name in (*NUMBERS, "match", "text", "kind", "id")
        for pair in prompt.value
        if pair[0].value == name
    )
    if prompt.flow_style:
        end = _end(text, after[1])
        return _Edit(end, end, f", {key}: {number}")
    end = _line_end(text, _end(text, after[1]))
    return _Edit(end, end, f"{newline}{' ' * prompt.value[0][0].start_mark.column}{key}: {number}")


def _background(text: str, root: yaml.MappingNode, added: Sequence[str], newline: str) -> _Edit:
    present = _value(root, "background")
    quoted = [_scalar(sentence) for sentence in added]
    if isinstance(present, yaml.SequenceNode) and present.value:
        end = _end(text, present.value[-1])
        if present.flow_style:
            return _Edit(end, end, "".join(f", {sentence}" for sentence in quoted))
        end = _line_end(text, end)
        dash = " " * present.start_mark.column + "- "
        return _Edit(end, end, "".join(f"{newline}{dash}{sentence}" for sentence in quoted))
    flow = f"[{', '.join(quoted)}]"
    if present is not None:
        return _Edit(present.start_mark.index, present.end_mark.index, flow)
    if root.flow_style:
        end = _end(text, root.value[-1][1])
        return _Edit(end, end, f", background: {flow}")
    end = _line_end(text, _end(text, root.value[-1][1]))
    return _Edit(end, end, f"{newline}{newline}background: {flow}")


def _end(text: str, node: yaml.Node) -> int:
    """Where what is written of a node ends; the mark of a block lies further on, before the next key."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    end: int = node.end_mark.index
    return len(text[:end].rstrip()) if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end


def _line_end(text: str, place: int) -> int:
    """End of the line, its comment included, before the line break."""
    end = text.find("\n", place)
    end = len(text) if end < 0 else end
    return end - 1 if text[end - 1 : end] == "\r" else end


def _scalar(sentence: str) -> str:
    """A sentence as YAML that reads as itself, in a flow list too, where more signs have a meaning."""
    style = None if sentence.replace(" ", "").isalpha() else "'"
    written: str = yaml.safe_dump(
        sentence, default_style=style, default_flow_style=True, width=10_000
    ).strip()
    return written.removesuffix("\n...").removesuffix("...").strip()
