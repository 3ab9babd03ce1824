from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from training.data.recipe import DataSet
from training.data.sources import Candidate, read_source


def _read(root: Path, **fields: object) -> tuple[Candidate, ...]:
    whole = {"licence": "drawn", "source": "the tests", **fields}
    return read_source(DataSet.model_validate(whole), root).candidates


def _folders(root: Path, names: list[str]) -> None:
    """Images of two classes, taken in flights of which each shows both."""
    for label in ("beach", "port"):
        (root / "scenes" / label).mkdir(parents=True)
        for name in names:
            (root / "scenes" / label / f"{name}_{label}.jpg").write_bytes(b"not looked at here")


def test_a_share_is_set_aside_by_name(tmp_path: Path) -> None:
    _folders(tmp_path, [f"{number}" for number in range(200)])
    found = _read(tmp_path, name="scenes", captions="class", validation={"share": 0.2})
    aside = {candidate.file for candidate in found if candidate.part == "val"}
    assert 0.1 < len(aside) / len(found) < 0.3
    again = _read(tmp_path, name="scenes", captions="class", validation={"share": 0.2})
    assert {candidate.file for candidate in again if candidate.part == "val"} == aside


def test_a_group_stays_together(tmp_path: Path) -> None:
    _folders(tmp_path, [f"flight{flight}_{frame}" for flight in range(12) for frame in range(4)])
    validation = {"share": 0.5, "group": "^(flight[0-9]+)_"}
    found = _read(tmp_path, name="scenes", captions="class", validation=validation)
    parts = defaultdict(set)
    for candidate in found:
        parts[Path(candidate.file).name.split("_")[0]].add(candidate.part)
    assert all(len(part) == 1 for part in parts.values())
    assert {part for found_parts in parts.values() for part in found_parts} == {"train", "val"}


def test_files_are_named_below_the_root_under_the_name_of_the_set(tmp_path: Path) -> None:
    _folders(tmp_path, ["one"])
    found = _read(tmp_path, name="coast", folder="scenes", captions="class")
    assert [(c.source, c.part, c.file) for c in found] == [
        ("coast", "train", "scenes/beach/one_beach.jpg"),
        ("coast", "train", "scenes/port/one_port.jpg"),
    ]
