"""Identifiers and suggestions."""

from __future__ import annotations

import pytest

from firmware_cfg.names import closest, is_identifier, suggest


@pytest.mark.parametrize("name", ["a", "search_and-rescue2", "0", "-", "a" * 64])
def test_identifiers(name: str) -> None:
    assert is_identifier(name)


@pytest.mark.parametrize("name", ["", "a" * 65, "A", "a b", "a/b", "+", "#", "a\0", "a\n", "é", "١"])
def test_no_identifiers(name: str) -> None:
    assert not is_identifier(name)


def test_suggestions() -> None:
    assert suggest("Treshold", ["threshold", "text"]) == "did you mean threshold?"
    assert suggest("zzz", ["b", "a"]) == "known: a, b"
    assert suggest("zzz", []) == ""
    assert suggest("zzz", [f"name{n}" for n in range(20)]) == ""


def test_closest() -> None:
    assert closest("promts", ["prompts", "lines"]) == "prompts"
    assert closest("zzz", ["prompts"]) is None
