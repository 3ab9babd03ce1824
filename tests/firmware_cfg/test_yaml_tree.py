"""YAML as plain data that remembers where everything stood."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firmware_cfg.errors import ConfigErrors
from firmware_cfg.yaml_tree import MAX_BYTES, KeyPath, parse_located_yaml, read_config_bytes

plain_keys = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6)
plain_texts = st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["Cc", "Cs"]), max_size=12)


def plain_data(texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    floats = st.floats(allow_nan=False, allow_infinity=False)
    scalars = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | floats | texts
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_keys, inner, max_size=4),
        max_leaves=12,
    )
    return st.dictionaries(plain_keys, values, min_size=1)


def error_lines(source: str | bytes) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse_located_yaml(source, "x.yaml")
    return str(caught.value).splitlines()


def walk_paths(data: Any, path: KeyPath = ()) -> list[tuple[KeyPath, Any]]:
    found: list[tuple[KeyPath, Any]] = [(path, data)]
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += walk_paths(value, (*path, key))
    return found


@given(plain_data(plain_texts), st.integers(1, 8))
def test_json_with_any_indent_is_read_and_every_place_is_where_the_value_stands(
    data: dict[str, Any], indent: int
) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    located = parse_located_yaml(text, "x.yaml")
    assert located.data == data
    lines = text.split("\n")
    for path, value in walk_paths(data):
        place = located.value_place(path)
        rest = lines[place.line - 1][place.column - 1 :]
        if isinstance(value, (dict, list)):
            assert rest[0] == ("{" if isinstance(value, dict) else "[")
        else:
            assert rest.rstrip(",") == json.dumps(value, ensure_ascii=False)
        if path and isinstance(path[-1], str):
            place = located.key_place(path)
            assert lines[place.line - 1][place.column - 1 :].startswith(json.dumps(path[-1]))


# PyYAML writes YAML 1.1, which leaves a text such as 0E0 or 08 bare; in YAML 1.2 that is a number.
@given(plain_data(plain_texts.filter(lambda text: not re.match(r"[-+.]?[0-9]", text))), st.booleans())
def test_what_pyyaml_writes_is_read_as_the_same_data(data: dict[str, Any], flow: bool) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=True)
    assert parse_located_yaml(text, "x.yaml").data == data


@given(st.binary(max_size=80) | st.text("{}[]:-*&!|>'\"\t\n ,#?ab1", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_with_a_line(source: bytes) -> None:
    try:
        assert parse_located_yaml(source, "x.yaml").data is not None
    except ConfigErrors as errors:
        for error in errors.errors:
            assert error.line >= 1
            assert error.column >= 1
            assert "\n" not in str(error)


def test_words_that_old_yaml_reads_as_something_else_stay_text() -> None:
    located = parse_located_yaml(
        "a: yes\nb: on\nc: 1:30\nd: 2026-01-01\ne: 0o17\nf: .inf\nno: 1_000", "x.yaml"
    )
    assert located.data == {
        "a": "yes",
        "b": "on",
        "c": "1:30",
        "d": "2026-01-01",
        "e": "0o17",
        "f": ".inf",
        "no": "1_000",
    }


def test_numbers_of_new_yaml() -> None:
    assert parse_located_yaml("[1, -2, 1e3, .5, 007, 2.]", "x.yaml").data == [1, -2, 1000.0, 0.5, 7, 2.0]


@pytest.mark.parametrize(
    ("line", "offset", "column"),
    [
        ("a: count >= 5", 3, 7),
        ("a: 'count >= 5'", 3, 8),
        ('a: "count >= 5"', 3, 8),
        ('a: "co\\u0075nt"', 3, 4),  # what stands in the file is not the text itself
        ("a: >-\n  count", 3, 4),
    ],
)
def test_a_column_inside_a_text(line: str, offset: int, column: int) -> None:
    place = parse_located_yaml(line, "x.yaml").value_place(("a",), offset)
    assert (place.line, place.column) == (1, column)


def test_aliases_are_followed() -> None:
    assert parse_located_yaml("a: &x [1, 2]\nb: *x", "x.yaml").data == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("", "x.yaml:1:1: is empty"),
        ("# only a comment\n", "x.yaml:1:1: is empty"),
        ("a: 1\n\tb: 2\n", "x.yaml:2:1: a tab where YAML wants spaces (indent with spaces)"),
        ("a:\n  - b\n\t- c\n", "x.yaml:3:1: a tab where YAML wants spaces (indent with spaces)"),
        ("a: 1\na: 2", "x.yaml:2:1: key a is given twice (first on line 1)"),
        ("a: 1\n? [b]\n: 2", "x.yaml:2:3: a key must be a plain word"),
        ("a: &x {b: 1}\nc: {<<: *x}", "x.yaml:2:5: merge keys (<<) are not supported (write the keys out)"),
        ("a: !!python/object/apply:os.system [ls]", "x.yaml:1:4: tag !!python/object/apply:os.system"),
        ("a: !!int word", "x.yaml:1:4: 'word' cannot be read as !!int"),
        ("a: 1e999", "x.yaml:1:4: '1e999' cannot be read as !!float"),
        ('a: "\\ud800"', "x.yaml:1:4: "),
        ("a: &x [*x]", "x.yaml:1:4: aliases make this file expand without end (write the values out)"),
        ("a: *b", "x.yaml:1:4: not valid YAML: found undefined alias"),
        (
            "---\na: 1\n---\nb: 1",
            "x.yaml:3:1: not valid YAML: but found another document (one file holds one",
        ),
        ("a: 'open", "x.yaml:1:9: not valid YAML: found unexpected end of stream (close the quote"),
        ("a: b: c", "x.yaml:1:5: not valid YAML: mapping values are not allowed here (put a text"),
        ("a: 1\nb: \x01", "x.yaml:2:4: character U+0001 is not allowed in YAML (remove it)"),
        ("a: 1\nb: é\n".encode("latin-1"), "x.yaml:2:4: byte 0xe9 is not UTF-8 (save the file as UTF-8)"),
        ("é: ü".encode() + b"\xff", "x.yaml:1:5: byte 0xff is not UTF-8"),
        ("a: 1".encode("utf-16"), "x.yaml:1:1: byte 0xff is not UTF-8"),
    ],
)
def test_what_is_refused_and_where(source: str | bytes, line: str) -> None:
    (found,) = error_lines(source)
    assert found.startswith(line)


def test_every_duplicate_key_is_told() -> None:
    assert len(error_lines("a: 1\na: 2\nb: {c: 1, c: 2}")) == 2


def test_deep_nesting_is_refused() -> None:
    (line,) = error_lines("[" * 5000)
    assert "nested more than" in line


def test_an_alias_bomb_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (line,) = error_lines("\n".join(levels))
    assert "expand without end" in line


def test_a_byte_order_mark_is_not_part_of_the_first_key() -> None:
    located = parse_located_yaml(b"\xef\xbb\xbfa: 1", "x.yaml")
    assert located.data == {"a": 1}
    assert located.key_place(("a",)).column == 1


@pytest.mark.parametrize(("name", "reason"), [("missing.yaml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigErrors, match=f"cannot be read: {reason}"):
        read_config_bytes(tmp_path / name)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigErrors, match="larger than 1 MiB"):
        read_config_bytes(path)
