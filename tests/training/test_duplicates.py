from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.duplicates import SegmentIndex, near_duplicates, phash

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
def test_each_hash_finds_all_that_are_near_to_it_and_itself(
    every: list[np.ndarray], options: tuple[int, int]
) -> None:
    index = SegmentIndex(*options)
    for number, one in enumerate(every):
        index.add(one, number)
    for one in every:
        expected = [j for j, other in enumerate(every) if differing(one, other) < options[1]]
        assert index.near(one) == expected


def bits(*on: int) -> np.ndarray:
    return np.isin(np.arange(64), on)


def test_a_pair_is_a_duplicate_below_distance_two_wherever_the_bit_is() -> None:
    assert near_duplicates([bits(i) for i in range(64)], [bits()]) == list(range(64))
    assert near_duplicates([bits(i, (i + 16) % 64) for i in range(64)], [bits()]) == []


def test_too_few_segments_and_hashes_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 segments miss pairs below distance 3"):
        SegmentIndex(segments=2, distance=3)
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
