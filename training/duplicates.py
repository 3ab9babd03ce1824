"""Near-duplicate images by perceptual hash, so that no training image is a copy of one that is evaluated on.

Source: RemoteCLIP section III-C: duplicate if the Hamming distance of two p-hashes is below 2. Splitting the
64 bits into two halves finds every such pair by comparing within buckets only: one differing bit leaves one
half equal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DISTANCE = 2  # a pair is a duplicate below this Hamming distance
_HALVES = (slice(0, 32), slice(32, 64))


def phash(path: Path) -> NDArray[np.bool_]:
    """The image's 64-bit perceptual hash as (64,) bool. Raises OSError where the image cannot be read."""
    import imagehash
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(imagehash.phash(image.convert("RGB")).hash, np.bool_).reshape(-1)


def near_duplicates(
    candidates: Sequence[NDArray[np.bool_]], references: Iterable[NDArray[np.bool_]]
) -> list[int]:
    """Indices of the candidates whose hash is within the duplicate distance of some reference, ascending."""
    buckets: dict[tuple[int, bytes], list[NDArray[np.bool_]]] = defaultdict(list)
    for reference in references:
        for part, half in enumerate(_HALVES):
            buckets[part, reference[half].tobytes()].append(reference)
    found: list[int] = []
    for index, candidate in enumerate(candidates):
        near = (
            reference
            for part, half in enumerate(_HALVES)
            for reference in buckets.get((part, candidate[half].tobytes()), ())
        )
        if any(int(np.count_nonzero(candidate != reference)) < DISTANCE for reference in near):
            found.append(index)
    return found
