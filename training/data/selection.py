"""What goes into the shards: no image near an evaluated one, and no two near one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.data.images import Examined
from training.data.sources import Candidate, Evaluated
from training.duplicates import SegmentIndex

SET_ASIDE = "set aside"  # stands for the split of a set's validation images


@dataclass(frozen=True, slots=True)
class Near:
    """A removed image, the one that it is near to (both below the data root), and their Hamming distance."""

    file: str
    near: str
    distance: int


@dataclass(slots=True)
class Leaks:
    """What one evaluated split cost; a removed image is listed once, under the split of its nearest image.

    images: of the split; unreadable: those that could not be compared; train, val: removed from each part.
    """

    name: str
    split: str
    images: int
    unreadable: int
    train: list[Near] = field(default_factory=list)
    val: list[Near] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Selection:
    """Candidates kept, in their order; files removed as leaks and as duplicates; and the tables to report."""

    kept: tuple[Candidate, ...]
    leaks: tuple[Leaks, ...]
    duplicates: tuple[Near, ...]

    def leaking(self) -> frozenset[str]:
        """Files that were removed as leaks."""
        return frozenset(near.file for table in self.leaks for near in (*table.train, *table.val))


def select(
    candidates: Sequence[Candidate],
    examined: Mapping[str, Examined],
    evaluated: Sequence[Evaluated],
    segments: int,
    distance: int,
) -> Selection:
    """Choose among candidates that can all be decoded, given in the order of their worth.

    Leaks go first: training and validation images near an evaluated one, and training images near one that
    is set aside. Of training images near one another, within and across sets, the first stays.
    """
    tables = {
        (e.name, e.split): Leaks(e.name, e.split, len(e.files), sum(_unusable(examined, e.files)))
        for e in evaluated
    }
    references = _Hashes(segments, distance)
    for split in evaluated:
        for file, unusable in zip(split.files, _unusable(examined, split.files), strict=True):
            if not unusable:
                references.add(examined[file], (split.name, split.split))
    aside: list[Candidate] = []
    for candidate in (c for c in candidates if c.part == "val"):
        if leak := references.nearest(examined[candidate.file]):
            tables[leak[1]].val.append(leak[0])
        else:
            aside.append(candidate)
    for candidate in aside:
        place = (candidate.source, SET_ASIDE)
        tables.setdefault(place, Leaks(*place, 0, 0)).images += 1
        references.add(examined[candidate.file], place)
    kept, duplicates = _distinct(candidates, examined, references, tables, _Hashes(segments, distance))
    chosen = {id(candidate) for candidate in (*aside, *kept)}
    return Selection(
        tuple(candidate for candidate in candidates if id(candidate) in chosen),
        tuple(tables.values()),
        tuple(duplicates),
    )


def _distinct(
    candidates: Sequence[Candidate],
    examined: Mapping[str, Examined],
    references: _Hashes,
    tables: Mapping[tuple[str, str], Leaks],
    before: _Hashes,
) -> tuple[list[Candidate], list[Near]]:
    """Training images that neither leak (those go into the tables) nor repeat one before them."""
    kept: list[Candidate] = []
    duplicates: list[Near] = []
    for candidate in (c for c in candidates if c.part == "train"):
        image = examined[candidate.file]
        if leak := references.nearest(image):
            tables[leak[1]].train.append(leak[0])
        elif copy := before.nearest(image):
            duplicates.append(copy[0])
        else:
            before.add(image, (candidate.source, candidate.part))
            kept.append(candidate)
    return kept, duplicates


def _unusable(examined: Mapping[str, Examined], files: Sequence[str]) -> list[bool]:
    return [bool(examined[file].problem) for file in files]


class _Hashes:
    """Examined images by their hash, each of a named split."""

    def __init__(self, segments: int, distance: int) -> None:
        self._index = SegmentIndex(segments, distance)
        self._members: list[tuple[Examined, tuple[str, str]]] = []

    def add(self, image: Examined, place: tuple[str, str]) -> None:
        self._index.add(image.bits(), len(self._members))
        self._members.append((image, place))

    def nearest(self, image: Examined) -> tuple[Near, tuple[str, str]] | None:
        """The nearest remembered image, the earliest of equals, and its split; None where none is near."""
        bits = image.bits()
        found: list[tuple[int, int]] = []
        for number in self._index.near(bits):
            found.append((int(np.count_nonzero(bits != self._members[number][0].bits())), number))
        if not found:
            return None
        distance, number = min(found)
        other, place = self._members[number]
        return Near(image.file, other.file, distance), place
