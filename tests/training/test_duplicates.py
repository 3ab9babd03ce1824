from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.duplicates import copies, duplicate_groups, near_duplicates, phash

SIZES = st.sampled_from([9, 16, 64, 100])  # bits, also such as do not fill bytes or cut evenly


@st.composite
def hashes(draw: st.DrawFn) -> list[np.ndarray]:
    """Few unrelated hashes and many that differ from an earlier one in up to three bits, in any order."""
    size = draw(SIZES)
    found = [draw(st.integers(0, 2**size - 1))]
    flips = st.lists(st.integers(0, size - 1), max_size=3, unique=True)
    for origin, flipped in draw(st.lists(st.tuples(st.integers(0, 12), flips), max_size=12)):
        found.append(found[origin % len(found)] ^ sum(1 << bit for bit in flipped))
    return [np.array([value >> bit & 1 for bit in range(size)], np.bool_) for value in found]


@st.composite
def segments_and_distance(draw: st.DrawFn) -> tuple[int, int]:
    segments = draw(st.integers(2, 8))
    return segments, draw(st.integers(1, min(segments, 4)))


def differing(a: np.ndarray, b: np.ndarray) -> int:
    return int((a != b).sum())


@given(every=hashes(), cut=st.integers(0, 12), options=segments_and_distance())
def test_the_buckets_find_what_comparing_all_pairs_finds(
    every: list[np.ndarray], cut: int, options: tuple[int, int]
) -> None:
    references, candidates = every[:cut], every[cut:]
    expected = [i for i, a in enumerate(candidates) if any(differing(a, b) < options[1] for b in references)]
    assert near_duplicates(candidates, references, *options) == expected


@given(every=hashes(), options=segments_and_distance())
def test_groups_are_the_connected_parts_of_all_duplicate_pairs(
    every: list[np.ndarray], options: tuple[int, int]
) -> None:
    groups = [{i} for i in range(len(every))]
    for i, a in enumerate(every):
        for j, b in enumerate(every[:i]):
            if differing(a, b) < options[1]:
                merged = next(g for g in groups if i in g) | next(g for g in groups if j in g)
                groups = [g for g in groups if not g & merged] + [merged]
    expected = sorted(tuple(sorted(group)) for group in groups if len(group) > 1)
    assert duplicate_groups(every, *options) == expected


@given(every=hashes(), options=segments_and_distance())
def test_without_the_copies_no_two_are_duplicates_and_each_copy_is_one_of_what_is_kept(
    every: list[np.ndarray], options: tuple[int, int]
) -> None:
    removed = copies(every, *options)
    rest = [i for i in range(len(every)) if i not in removed]
    assert all(differing(every[i], every[j]) >= options[1] for i in rest for j in rest if i != j)
    for copy, kept in removed.items():
        assert kept in rest
        assert kept < copy
        assert differing(every[copy], every[kept]) < options[1]


def bits(*on: int) -> np.ndarray:
    return np.isin(np.arange(64), on)


def test_a_chain_of_neighbours_is_one_group_of_which_every_other_is_kept() -> None:
    chain = [bits(), bits(0), bits(0, 1), bits(0, 1, 2), bits(*range(40, 60))]
    assert duplicate_groups(chain) == [(0, 1, 2, 3)]
    assert copies(chain) == {1: 0, 3: 2}


def test_a_pair_is_a_duplicate_below_distance_two_wherever_the_bit_is() -> None:
    assert near_duplicates([bits(i) for i in range(64)], [bits()]) == list(range(64))
    assert near_duplicates([bits(i, (i + 16) % 64) for i in range(64)], [bits()]) == []


def test_too_few_segments_and_hashes_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 segments miss pairs below distance 3"):
        duplicate_groups([bits()], segments=2, distance=3)
    with pytest.raises(ValueError, match="of 64 and of 16 bits"):
        near_duplicates([bits()[:16]], [bits()])


def test_a_re_encoded_image_is_found_and_a_different_one_is_not(synthetic_root: Path, tmp_path: Path) -> None:
    original, other = (synthetic_root / "yolo_set/images/train" / f"train_{i}.png" for i in (0, 1))
    copy = tmp_path / "copy.jpg"
    assert cv2.imwrite(str(copy), cv2.imread(str(original)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert near_duplicates([phash(copy), phash(other)], [phash(original)]) == [0]


def test_an_open_file_hashes_like_its_path_and_a_larger_side_gives_more_bits(synthetic_root: Path) -> None:
    path = synthetic_root / "yolo_set/images/train/train_0.png"
    with path.open("rb") as file:
        assert np.array_equal(phash(file), phash(path))
    assert phash(path, side=16).shape == (256,)


def test_a_file_that_is_no_image_raises_oserror(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not an image")
    with pytest.raises(OSError, match="cannot identify"):
        phash(tmp_path / "a.jpg")
