from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data.images import Examined
from training.data.selection import Selection, select
from training.data.sources import Candidate, Evaluated
from training.samples import CaptionSample

# Hashes of six bits in a row of 64, so that near pairs are common.
HASHES = st.lists(st.integers(0, 63), max_size=12)


def _examined(hashes: dict[str, int]) -> dict[str, Examined]:
    return {file: Examined(file, 1, 1, f"{bits * 0x0101010101:016x}", 8, 8) for file, bits in hashes.items()}


def _apart(a: Examined, b: Examined) -> int:
    return int(a.phash, 16).__xor__(int(b.phash, 16)).bit_count()


def _select(
    train: list[int], val: list[int], evaluated: list[int], distance: int = 6
) -> tuple[Selection, dict[str, Examined]]:
    groups = {"train": train, "val": val, "test": evaluated}
    hashes = {f"{name}{i}": bits for name, of in groups.items() for i, bits in enumerate(of)}
    sample = CaptionSample(Path("unused"), ("said",))
    candidates = [
        Candidate("drawn", f"{part}{i}", part, sample)
        for part in ("train", "val")
        for i in range(len(groups[part]))
    ]
    examined = _examined(hashes)
    tests = [Evaluated("bench", "test", tuple(f"test{i}" for i in range(len(evaluated))))]
    return select(candidates, examined, tests, distance, distance), examined


@given(HASHES, HASHES, HASHES)
def test_what_is_kept_is_near_nothing_it_must_not_be_near(
    train: list[int], val: list[int], evaluated: list[int]
) -> None:
    chosen, examined = _select(train, val, evaluated)
    kept = {part: [c.file for c in chosen.kept if c.part == part] for part in ("train", "val")}
    tests = [f"test{i}" for i in range(len(evaluated))]

    def near(file: str, others: list[str]) -> bool:
        return any(_apart(examined[file], examined[other]) < 6 for other in others)

    assert not any(near(file, tests) for file in kept["train"] + kept["val"])
    assert not any(near(file, kept["val"]) for file in kept["train"])
    assert not any(near(file, kept["train"][:i]) for i, file in enumerate(kept["train"]))
    # And nothing goes without a reason, which is stated.
    removed = [entry for table in chosen.leaks for entry in (*table.train, *table.val)]
    removed += chosen.duplicates
    assert sorted(entry.file for entry in removed) == sorted(
        set(examined) - set(tests) - set(kept["train"]) - set(kept["val"])
    )
    allowed = {*tests, *kept["train"], *kept["val"]}
    for entry in removed:
        assert entry.near in allowed
        assert entry.distance == _apart(examined[entry.file], examined[entry.near]) < 6


def test_a_leak_is_listed_where_its_nearest_image_is() -> None:
    chosen, _ = _select(train=[0b000111, 0b111000], val=[0b111001], evaluated=[0b000110], distance=11)
    tables = {(table.name, table.split): table for table in chosen.leaks}
    assert [entry.file for entry in tables["bench", "test"].train] == ["train0"]
    assert [entry.file for entry in tables["drawn", "set aside"].train] == ["train1"]
    assert [entry.distance for entry in tables["bench", "test"].train] == [5]
    assert chosen.leaking() == {"train0", "train1"}


def test_unreadable_evaluation_images_are_counted() -> None:
    sample = CaptionSample(Path("unused"), ("said",))
    examined = {
        "a": Examined("a", 1, 1, "0" * 16, 8, 8),
        "torn": Examined("torn", 1, 1, problem="cannot be decoded"),
    }
    chosen = select(
        [Candidate("s", "a", "train", sample)], examined, [Evaluated("e", "all", ("torn",))], 4, 2
    )
    assert [(table.images, table.unreadable) for table in chosen.leaks] == [(1, 1)]
    assert np.array_equal([c.file for c in chosen.kept], ["a"])
