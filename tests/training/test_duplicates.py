from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.duplicates import DISTANCE, near_duplicates, phash

BITS = st.lists(st.booleans(), min_size=64, max_size=64).map(lambda bits: np.array(bits, np.bool_))


@given(
    references=st.lists(BITS, max_size=6),
    flips=st.lists(st.lists(st.integers(0, 63), max_size=3, unique=True), min_size=1, max_size=6),
    others=st.lists(BITS, max_size=4),
)
def test_the_buckets_find_what_comparing_all_pairs_finds(
    references: list[np.ndarray], flips: list[list[int]], others: list[np.ndarray]
) -> None:
    candidates = list(others)
    for number, flip in enumerate(flips):
        if references:
            near = references[number % len(references)].copy()
            near[flip] ^= True
            candidates.append(near)
    expected = [
        i
        for i, candidate in enumerate(candidates)
        if any(int((candidate != reference).sum()) < DISTANCE for reference in references)
    ]
    assert near_duplicates(candidates, references) == expected


def test_a_re_encoded_image_is_found_and_a_different_one_is_not(synthetic_root: Path, tmp_path: Path) -> None:
    original, other = (synthetic_root / "yolo_set/images/train" / f"train_{i}.png" for i in (0, 1))
    copy = tmp_path / "copy.jpg"
    assert cv2.imwrite(str(copy), cv2.imread(str(original)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert near_duplicates([phash(copy), phash(other)], [phash(original)]) == [0]


def test_a_file_that_is_no_image_raises_oserror(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not an image")
    with pytest.raises(OSError, match="cannot identify"):
        phash(tmp_path / "a.jpg")
