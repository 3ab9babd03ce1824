"""YAML as plain data that remembers where everything stood.

Reads the YAML that engineers expect: `yes`, `on` and `1:30` stay text, only true and false are booleans (as
in YAML 1.2). Refuses what a configuration file has no use for: duplicate keys, tags, merge keys, and files
that would expand to something huge.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from firmware_cfg.errors import ConfigError, ConfigErrors

KeyPath = tuple[str | int, ...]
MAX_BYTES = 1 << 20
MAX_DEPTH = 24
#: Counts a node each time that an alias repeats it, so that aliases cannot multiply.
MAX_NODES = 100_000

_TAG = "tag:yaml.org,2002:"
_INDENT_MEND = "check the indentation here and on the lines above"
_SYNTAX_MENDS = (
    ("mapping values are not allowed", "put a text that contains ': ' in quotes, or check the indentation"),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    ("expected <block end>", _INDENT_MEND),
    ("while scanning a quoted scalar", "close the quote"),
    ("found unexpected end of stream", "close the quote or bracket"),
    ("expected ',' or ']'", "close the bracket, and put commas between its items"),
    ("expected ',' or '}'", "close the brace, and put commas between its items"),
    ("found undefined alias", "put a text that begins with * in quotes"),
    ("single document", "one file holds one document: remove the second ---"),
    ("cannot start any token", "put a text that begins with this character in quotes"),
)


class _Loader(yaml.SafeLoader):
    """Composes only. Depth is checked here because composing recurses."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - replaces the YAML 1.1 table of the parent

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=self.get_mark()
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    _TAG + "bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_Loader.add_implicit_resolver(_TAG + "int", re.compile(r"[-+]?[0-9]{1,18}\Z"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"),
    list("-+.0123456789"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(slots=True)
class LocatedYaml:
    """`data` is made of dict, list, str, int, float, bool and None; every key is text."""

    name: str
    text: str
    data: Any = None
    _nodes: dict[KeyPath, yaml.Node] = field(default_factory=dict)
    _keys: dict[KeyPath, yaml.Node] = field(default_factory=dict)

    def has(self, path: KeyPath) -> bool:
        """Whether the file has something at `path`."""
        return path in self._nodes

    def value_place(self, path: KeyPath, offset: int = 0) -> Place:
        """Where the value at `path` begins, plus `offset` where the file shows its text as it is."""
        node = self._nodes[path]
        start = _place(node.start_mark)
        if not offset or not isinstance(node, yaml.ScalarNode):
            return start
        source = self.text[node.start_mark.index : node.end_mark.index]
        for quote in ("", "'", '"'):
            if source == f"{quote}{node.value}{quote}" and "\n" not in source:
                return Place(start.line, start.column + len(quote) + offset)
        return start

    def key_place(self, path: KeyPath) -> Place:
        """Where the key at `path` begins; the value where it has none (items of a list)."""
        node = self._keys.get(path)
        return _place(node.start_mark) if node is not None else self.value_place(path)


def read_config_bytes(path: str | Path) -> bytes:
    """The bytes of a file. Raises ConfigErrors when it cannot be read or is larger than 1 MiB."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise ConfigErrors([ConfigError(str(path), 0, 0, problem)]) from error
    if len(data) > MAX_BYTES:
        raise ConfigErrors([ConfigError(str(path), 0, 0, "is larger than 1 MiB", "is it the right file?")])
    return data


def parse_located_yaml(source: bytes | str, name: str) -> LocatedYaml:
    """Parse one YAML document. Raises ConfigErrors whose lines name `name`."""
    text = _decode(source, name) if isinstance(source, bytes) else source
    located = LocatedYaml(name, text.removeprefix("\ufeff"))
    root = _compose(located)
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _TAG + "null"):
        raise ConfigErrors([ConfigError(name, 1, 1, "is empty")])
    _Walker(located).run(root)
    return located


def _decode(source: bytes, name: str) -> str:
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = source[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8-sig")) + 1
        problem = f"byte 0x{source[error.start]:02x} is not UTF-8"
        raise ConfigErrors([ConfigError(name, line, column, problem, "save the file as UTF-8")]) from error


def _compose(located: LocatedYaml) -> yaml.Node | None:
    try:
        loader = _Loader(located.text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        before = located.text[: error.position]
        line, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
        problem = f"character U+{ord(located.text[error.position]):04X} is not allowed in YAML"
        raise ConfigErrors([ConfigError(located.name, line, column, problem, "remove it")]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        problem, mend = _syntax(error, located.text, line)
        raise ConfigErrors([ConfigError(located.name, line, column, problem, mend)]) from error


def _syntax(error: yaml.MarkedYAMLError, text: str, line: int) -> tuple[str, str]:
    said = f"{error.context or ''} {error.problem or ''}"
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    if "'\\t'" in said or "\t" in here[: len(here) - len(here.lstrip())]:
        return "a tab where YAML wants spaces", "indent with spaces"
    mend = next((mend for part, mend in _SYNTAX_MENDS if part in said), "")
    return f"not valid YAML: {error.problem or error.context}", mend


class _Walker:
    """Turns nodes into plain data and notes where each stood."""

    def __init__(self, located: LocatedYaml) -> None:
        self._located = located
        self._errors: list[ConfigError] = []
        self._count = 0

    def run(self, root: yaml.Node) -> None:
        self._located.data = self._value(root, ())
        if self._errors:
            raise ConfigErrors(self._errors)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._count += 1
        if self._count > MAX_NODES or len(path) > MAX_DEPTH:
            self._note(node, "aliases make this file expand without end", "write the values out")
            raise ConfigErrors(self._errors)
        self._located._nodes[path] = node
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._note(node, f"tag {node.tag.replace(_TAG, '!!')} is not supported", "remove it")
        return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or not key.isprintable():
                self._note(key_node, "a key must be a plain word")
                continue
            where = (*path, key)
            if key == "<<" and key_node.style is None:
                self._note(key_node, "merge keys (<<) are not supported", "write the keys out")
            elif key in data:
                first = _place(self._located._keys[where].start_mark)
                self._note(key_node, f"key {key} is given twice", f"first on line {first.line}")
            else:
                self._located._keys[where] = key_node
                data[key] = self._value(value_node, where)
        return data

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        kind = node.tag.removeprefix(_TAG)
        try:
            if kind == "str":
                text.encode("utf-8")  # refuses lone surrogates, which "\ud800" can smuggle in
                return text
            if kind == "null" and text.lower() in ("", "~", "null"):
                return None
            if kind == "bool" and text.lower() in ("true", "false"):
                return text.lower() == "true"
            if kind == "int":
                return int(text)
            if kind == "float" and math.isfinite(number := float(text)):
                return number
        except ValueError:
            pass
        self._note(node, f"{text[:40]!r} cannot be read as {node.tag.replace(_TAG, '!!')}")
        return None

    def _note(self, node: yaml.Node, problem: str, mend: str = "") -> None:
        place = _place(node.start_mark)
        self._errors.append(ConfigError(self._located.name, place.line, place.column, problem, mend))


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)
