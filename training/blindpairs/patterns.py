"""Visual patterns: what can be asked about two images of which each object is known.

Each pattern gives statements that hold for one image and not for the other as their set annotates them; of
several things that it could be asked about, the one with the clearest difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from training.captioning.words import amount, plural
from training.readers.pictures import image_size
from training.samples import ObjectSample

MOST_COUNTED = 10
"""RemoteCount's numbers, and as far as captions count before they say "many"."""
FEW = (2, 4)
_CLEARLY_MORE = 1.5
_MIDDLE = (0.4, 0.6)  # of the width or height: what lies between is on no side
_SIDES = (("on the left", "on the right"), ("at the top", "at the bottom"))
_BESIDE = (("to the left of", "to the right of"), ("above", "below"))
_GAP = 0.1  # of the width or height, between things that lie beside one another
_CLOSE, _FAR = 0.15, 0.5  # of the longer side

Asked = tuple[str, str, str]
"""Pattern, statement true of the first image, statement true of the second."""
Things = Mapping[int, str]
"""Class number -> its name in words, of the classes that are things."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """What an image shows; classes: how many the set has."""

    sample: ObjectSample
    classes: int

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Objects of every class, (classes,)."""
        return self.sample.counts(self.classes)

    @cached_property
    def size(self) -> Floats:
        """Width and height in pixels, (2,)."""
        return np.array(image_size(self.sample.path), np.float64)

    def spots(self, number: int) -> Floats:
        """Centres of a class's objects as shares of the image's width and height, (K, 2)."""
        return np.asarray(self.sample.centres[self.sample.labels == number] / self.size, np.float64)

    def distances(self, number: int) -> Floats:
        """Between the centres of any two objects of a class, as shares of the image's longer side."""
        spots = self.spots(number) * self.size / self.size.max()
        i, j = np.triu_indices(len(spots), 1)
        return np.asarray(np.linalg.norm(spots[i] - spots[j], axis=1), np.float64)


def ask_objects(first: Shown, second: Shown, things: Things) -> list[Asked]:
    """At most one question of every pattern; none where the annotations do not tell the images apart.

    Areas of masks are neither counted nor placed: a meadow cut in two by a path is not two meadows.
    """
    areas = any(image.sample.mask is not None for image in (first, second))
    found = (pattern(first, second, things) for pattern in (_ANY if areas else (*_ANY, *_COUNTED)))
    return [asked for asked in found if asked is not None]


def _class(first: Shown, second: Shown, things: Things) -> Asked | None:
    """A thing of which there are some in the first image alone, and another one of the second alone."""
    mine, other = _most_of(first, second, things), _most_of(second, first, things)
    if mine is None or other is None:
        return None
    return "class", *_both(f"an aerial photo of {plural(things[number])}" for number in (mine, other))


def _presence(first: Shown, second: Shown, things: Things) -> Asked | None:
    """A thing of which there are some in one image and none in the other."""
    mine, other = _most_of(first, second, things), _most_of(second, first, things)
    if mine is None and other is None:
        return None
    # The commoner one; of equals the one that the set names first, whichever image comes first.
    alone = [(-image.counts[k], k) for image, k in ((first, mine), (second, other)) if k is not None]
    number = min(alone)[1]
    in_first = number == mine
    some, none = (f"an aerial photo {word} {plural(things[number])}" for word in ("with", "without"))
    return ("presence", some, none) if in_first else ("presence", none, some)


def _count(first: Shown, second: Shown, things: Things) -> Asked | None:
    """A thing of which there are clearly more in one image than in the other, though some in both."""
    best, asked = _CLEARLY_MORE, None
    for number, thing in things.items():
        a, b = int(first.counts[number]), int(second.counts[number])
        if not (0 < a <= MOST_COUNTED and 0 < b <= MOST_COUNTED):
            continue
        more = max(a, b) / min(a, b)
        if more >= _CLEARLY_MORE and (asked is None or more > best):
            best = more
            asked = "count", *_both(f"an aerial photo of {amount(n, thing)}" for n in (a, b))
    return asked


def _quantity(first: Shown, second: Shown, things: Things) -> Asked | None:
    """A thing of which there are a few in one image and more than are counted in the other."""
    best, asked = 0.0, None
    for number, thing in things.items():
        pair = [int(image.counts[number]) for image in (first, second)]
        few, many = min(pair), max(pair)
        if FEW[0] <= few <= FEW[1] and many > MOST_COUNTED and many / few > best:
            best = many / few
            said = (f"an aerial photo of {'a few' if n == few else 'many'} {plural(thing)}" for n in pair)
            asked = "quantity", *_both(said)
    return asked


def _position(first: Shown, second: Shown, things: Things) -> Asked | None:
    """A thing that lies on opposite sides, all of it."""
    best, asked = 0.0, None
    for number, thing in things.items():
        if not (first.counts[number] and second.counts[number]):
            continue
        a, b = first.spots(number), second.spots(number)
        for axis, names in enumerate(_SIDES):
            sides = _side(a[:, axis]), _side(b[:, axis])
            apart = abs(float(a[:, axis].mean() - b[:, axis].mean()))
            if sides in ((0, 1), (1, 0)) and apart > best:
                best = apart
                said = (
                    f"an aerial photo with {_some(int(image.counts[number]), thing)} {names[side]}"
                    for image, side in zip((first, second), sides, strict=True)
                    if side is not None
                )
                asked = "position", *_both(said)
    return asked


def _relation(first: Shown, second: Shown, things: Things) -> Asked | None:
    """Two things of which one lies, all of it, to the left of the other here and to its right there."""
    best, asked = _GAP, None
    both = [number for number in things if first.counts[number] and second.counts[number]]
    for one, other in combinations(both, 2):
        for axis, names in enumerate(_BESIDE):
            gaps = [_gap(image.spots(one)[:, axis], image.spots(other)[:, axis]) for image in (first, second)]
            clear = min(abs(gap) for gap in gaps)
            if gaps[0] * gaps[1] < 0 and clear > best:
                best = clear
                said = (
                    f"an aerial photo with {_some(int(image.counts[one]), things[one])} {names[gap < 0]}"
                    f" {_some(int(image.counts[other]), things[other])}"
                    for image, gap in zip((first, second), gaps, strict=True)
                )
                asked = "relation", *_both(said)
    return asked


def _distance(first: Shown, second: Shown, things: Things) -> Asked | None:
    """A thing of which all stand close together in one image, and each far from the others in the other."""
    best, asked = 0.0, None
    for number, thing in things.items():
        if min(first.counts[number], second.counts[number]) < 2:
            continue
        apart = [image.distances(number) for image in (first, second)]
        for close, far, said in (
            (apart[0], apart[1], ("close together", "far apart")),
            (apart[1], apart[0], ("far apart", "close together")),
        ):
            if close.max() <= _CLOSE and far.min() >= _FAR and far.min() - close.max() > best:
                best = float(far.min() - close.max())
                asked = "distance", *_both(f"an aerial photo with {plural(thing)} {how}" for how in said)
    return asked


Pattern = Callable[[Shown, Shown, Things], Asked | None]
_ANY: tuple[Pattern, ...] = (_class, _presence)
_COUNTED: tuple[Pattern, ...] = (_count, _quantity, _position, _relation, _distance)


def _both(said: Iterable[str]) -> tuple[str, str]:
    first, second = said
    return first, second


def _most_of(image: Shown, without: Shown, things: Things) -> int | None:
    """The thing that the image shows most of, among those that the other one does not show."""
    alone = [k for k in things if image.counts[k] and not without.counts[k]]
    return max(alone, key=lambda k: int(image.counts[k]), default=None)


def _side(shares: Floats) -> int | None:
    """0 or 1 where all of them lie on the one or the other side of the middle."""
    if (shares < _MIDDLE[0]).all():
        return 0
    return 1 if (shares > _MIDDLE[1]).all() else None


def _gap(one: Floats, other: Floats) -> float:
    """How far all of the one lie before all of the other, negative where behind; 0 where they mix."""
    return max(float(other.min() - one.max()), 0.0) + min(float(other.max() - one.min()), 0.0)


def _some(number: int, thing: str) -> str:
    return amount(1, thing) if number == 1 else plural(thing)
