"""Sets of pairs as files, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.blindpairs.questions import Pair, Question
from training.blindpairs.set_file import BlindPairSet, document_of, is_set_file, read_set, write_set
from training.errors import DataError

FOUND = BlindPairSet(
    Path("/pictures"),
    "remoteclip-lite0",
    "geoembed",
    0.9,
    0.1,
    (Pair("a.jpg", "sub/b.jpg", 0.95, 0.05), Pair("c.jpg", "d.jpg", 0.93, -0.2)),
    (Question(1, "count", "an aerial photo of one ship", "an aerial photo of five ships"),),
)


def test_a_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_set(tmp_path / "set.json", FOUND)
    assert read_set(tmp_path / "set.json") == FOUND
    assert read_set(tmp_path / "set.json", tmp_path / "moved").folder == tmp_path / "moved"
    assert is_set_file(tmp_path / "set.json")


def test_a_relative_folder_counts_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(json.dumps({**document_of(FOUND), "folder": "images"}))
    assert read_set(tmp_path / "set.json").folder == tmp_path / "images"


def test_other_json_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_text('{"images": []}')
    assert not is_set_file(tmp_path / "instances.json")
    assert not is_set_file(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "remoteclip/blindpairs/2"}, r"schema: Input should be 'remoteclip/blindpairs/1'"),
        ({"colour": 1}, "colour"),
        (
            {"questions": [{"pair": 2, "pattern": "x", "first": "a", "second": "b"}]},
            "questions.0.pair: 2 is none of the 2 pairs",
        ),
        (
            {"questions": [{"pair": 0, "pattern": "x", "first": "a", "second": "a "}]},
            "questions.0: both statements are the same",
        ),
        ({"questions": [{"pair": 0, "pattern": "", "first": "a", "second": "b"}]}, "questions.0.pattern"),
        (
            {"pairs": [{"first": "../a.jpg", "second": "b.jpg", "model": 0.9, "encoder": 0.1}]},
            r"pairs.0: \.\./a.jpg does not lie below",
        ),
        ({"pairs": [{"first": "a", "second": "a", "model": 0.9, "encoder": 0.1}]}, "no pair with itself"),
        ({"pairs": [{"first": "a", "second": "b", "model": 9, "encoder": 0.1}]}, "pairs.0.model"),
    ],
)
def test_an_error_names_file_and_entry(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    (tmp_path / "set.json").write_text(json.dumps({**document_of(FOUND), **change}))
    with pytest.raises(DataError, match=f"set.json: {said}|set.json: .*{said}"):
        read_set(tmp_path / "set.json")
