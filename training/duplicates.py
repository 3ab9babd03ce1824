"""Near-duplicate images by perceptual hash, within a set, across sets and against evaluated images.

Source: RemoteCLIP (arXiv 2306.11029) section III-C: every hash is cut into N segments, one dictionary a
segment, hashes are compared only where a segment is equal, and a pair is a duplicate if fewer than two bits
differ. The paper leaves N and the size of the hash open. By the pigeonhole principle any N of at least the
distance finds every pair: fewer differing bits than segments leave one segment untouched. More segments
are shorter, so their buckets are fuller; 4 suit sets up to some hundred thousand images.

Images without any texture (calm water, blank margins) have hashes that say little: look at what is removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

DISTANCE = 2  # a pair is a duplicate below this Hamming distance
SEGMENTS = 4

Hash = NDArray[np.bool_]


def phash(image: Path | IO[bytes], side: int = 8) -> Hash:
    """The perceptual hash of an image file, path or open, as (side * side,) bool.

    Raises OSError where the image cannot be read.
    """
    import imagehash
    from PIL import Image

    with Image.open(image) as opened:
        return np.asarray(imagehash.phash(opened.convert("RGB"), side).hash, np.bool_).reshape(-1)


class SegmentIndex:
    """Hashes in a dictionary a segment; finds those near a given one without comparing it with all.

    Equal hashes share an entry, so that a thousand blank images cost no million comparisons. Raises
    ValueError for fewer segments than the distance, which would miss pairs, and for hashes of unequal size.
    """

    def __init__(self, segments: int = SEGMENTS, distance: int = DISTANCE) -> None:
        if not 1 <= distance <= segments:
            raise ValueError(
                f"{segments} segments miss pairs below distance {distance} (use at least as many)"
            )
        self._segments, self._distance = segments, distance
        self._size: int | None = None
        self._numbers: dict[int, list[int]] = {}
        self._buckets: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(segments)]

    def add(self, bits: Hash, number: int) -> None:
        """Remember a hash under a number, which `near` will give back."""
        value = self._value(bits)
        numbers = self._numbers.setdefault(value, [])
        numbers.append(number)
        if len(numbers) == 1:
            for bucket, key in self._places(value):
                bucket[key].append(value)

    def near(self, bits: Hash) -> list[int]:
        """Numbers of the remembered hashes that are duplicates of this one, ascending."""
        value = self._value(bits)
        candidates = {other for bucket, key in self._places(value) for other in bucket.get(key, ())}
        close = (other for other in candidates if (value ^ other).bit_count() < self._distance)
        return sorted(number for other in close for number in self._numbers[other])

    def _value(self, bits: Hash) -> int:
        if self._size is None:
            self._size = len(bits)
        if len(bits) != self._size:
            raise ValueError(f"hashes of {self._size} and of {len(bits)} bits cannot be compared")
        return int.from_bytes(np.packbits(bits).tobytes(), "big") >> (-len(bits) % 8)

    def _places(self, value: int) -> Iterator[tuple[dict[int, list[int]], int]]:
        size = self._size or 0
        cuts = [size * part // self._segments for part in range(self._segments + 1)]
        for bucket, low, high in zip(self._buckets, cuts[:-1], cuts[1:], strict=True):
            yield bucket, (value >> low) & ((1 << (high - low)) - 1)


def near_duplicates(
    candidates: Sequence[Hash],
    references: Iterable[Hash],
    segments: int = SEGMENTS,
    distance: int = DISTANCE,
) -> list[int]:
    """Indices of the candidates whose hash is within the duplicate distance of some reference, ascending."""
    index = SegmentIndex(segments, distance)
    for number, reference in enumerate(references):
        index.add(reference, number)
    return [number for number, candidate in enumerate(candidates) if index.near(candidate)]
