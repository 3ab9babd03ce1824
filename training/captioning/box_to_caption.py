"""Box-to-Caption: what an image's boxes say about it (RemoteCLIP, arXiv 2306.11029, section III-B).

The paper gives the scheme: a caption of the objects whose box centre lies in the centre of the image, one of
those whose does not, and three that count objects of randomly chosen classes, with a general word above ten.
It gives neither its wordings nor what "centre" means; both are options here, with defaults after its figures.
Its captions name one class each, for which a later paper faults it: here up to three, `classes=1` is its own.

What a caption says is true of the whole image. Flips and quarter turns leave it true, a crop does not:
caption the boxes that a crop keeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from training.captioning.draw import Draw
from training.captioning.words import NO_THINGS, amount, plural, readable, singular

__all__ = ["BoxToCaption", "plural"]


@dataclass(frozen=True, slots=True)
class BoxToCaption:
    """Options of Box-to-Caption; raises ValueError for what cannot be meant.

    captions: sentences an image; centre: width and height of the centre window as fractions of the frame;
    many_above: counts above it are told by a word of `many`; digits: "3 cars" instead of "three cars";
    classes: at most so many classes a sentence; seed: another one draws other sentences. The wordings hold
    {} once, where the objects go; "there are {}" and "{} are" become "is" where it is one object. `both` is
    used beside `counts` where a sentence gives the numbers of two classes, each once an image.
    """

    captions: int = 5
    centre: tuple[float, float] = (0.5, 0.5)
    many_above: int = 10
    digits: bool = False
    seed: int = 0
    many: tuple[str, ...] = ("many", "a lot of", "lots of", "numerous", "a large number of")
    in_centre: tuple[str, ...] = (
        "{} in the middle of the picture",
        "there are {} in the middle of the picture",
        "{} in the center of this remote sensing image",
        "{} are located in the center of this aerial image",
    )
    at_edge: tuple[str, ...] = (
        "{} at the edge of the picture",
        "there are {} at the edge of the picture",
        "{} away from the center of this remote sensing image",
        "{} are located toward the edges of this aerial image",
    )
    counts: tuple[str, ...] = (
        "{} in this remote sensing image",
        "there are {} in the picture",
        "an aerial image of {}",
        "{} seen from above",
        "{} are located in this remote sensing picture",
        "an aerial view with {} in it",
    )
    both: tuple[str, ...] = ("both {} can be seen in the picture",)
    classes: int = 3

    def __post_init__(self) -> None:
        if min(self.captions, self.classes, self.many_above) < 1:
            raise ValueError("captions, classes and many_above must be at least 1")
        if len(self.centre) != 2 or not all(0 < side <= 1 for side in self.centre):
            raise ValueError(
                f"centre must be two fractions of the frame above 0 and at most 1, got {self.centre}"
            )
        if not self.many or not all(word.strip() for word in self.many):
            raise ValueError("many must list words such as 'a lot of'")
        for name in ("in_centre", "at_edge", "counts", "both"):
            wordings = getattr(self, name)
            for wording in wordings:
                if wording.count("{}") != 1 or wording.count("{") + wording.count("}") != 2:
                    raise ValueError(f"{name}: {wording!r} must hold {{}} once and no other braces")
            if not wordings and name != "both":
                raise ValueError(f"{name} must hold at least one wording")

    def caption(
        self,
        centres: ArrayLike,
        labels: ArrayLike,
        names: Sequence[str],
        width: float,
        height: float,
        seed_key: str,
    ) -> tuple[str, ...]:
        """Captions of one image, as many as `captions` says; none where nothing is annotated.

        centres: (K, 2) box centres in pixels; labels: (K,) index into names; width, height: of the image,
        pixels. Class names are taken as data sets write them or as phrases; classes of the same name count
        together, and NO_THINGS are not spoken of. The same seed and seed_key give the same sentences, on
        every machine. Raises ValueError where centres, labels and names do not fit together.
        """
        label = np.asarray(labels, np.int64).reshape(-1)
        place = np.asarray(centres, np.float64).reshape(-1, 2)
        if len(label) != len(place) or (len(label) and not 0 <= label.min() <= label.max() < len(names)):
            raise ValueError(f"{len(place)} centres, {len(label)} labels of {len(names)} classes do not fit")
        spoken = [readable(name) for name in names]
        things = [singular(name) if name not in NO_THINGS else "" for name in spoken]
        apart = np.abs(place / (width, height) - 0.5)
        central = np.all(apart <= np.asarray(self.centre) / 2, axis=1)
        placed = [(things[at], inside) for at, inside in zip(label.tolist(), central.tolist(), strict=True)]
        placed = [(thing, inside) for thing, inside in placed if thing]
        if not placed:
            return ()
        draw = Draw(f"{self.seed}:{seed_key}")
        found: list[str] = []
        for where, wordings in ((True, self.in_centre), (False, self.at_edge)):
            present = Counter(thing for thing, inside in placed if inside is where)
            if present:
                chosen = draw.shuffled(sorted(present))[: self.classes]
                found.append(self._say({name: present[name] for name in chosen}, draw.one(wordings), draw))
        found += self._counting(Counter(thing for thing, _ in placed), self.captions - len(found), draw)
        return tuple(found[: self.captions])

    def _counting(self, present: Counter[str], sentences: int, draw: Draw) -> list[str]:
        """Sentences that count randomly chosen classes; every class and wording has its turn before one comes
        again."""
        found: list[str] = []
        turn: list[str] = []
        wordings: list[str] = []
        both = draw.shuffled(self.both)
        for _ in range(sentences):
            turn = turn or draw.shuffled(sorted(present))
            size = 1 + draw.below(min(len(turn), self.classes))
            chosen, turn = turn[:size], turn[size:]
            wordings = wordings or draw.shuffled(self.counts)
            exact = max(present[name] for name in chosen) <= self.many_above
            paired = len(chosen) == 2 and exact and both and draw.below(2)
            wording = both.pop() if paired else wordings.pop()
            found.append(self._say({name: present[name] for name in chosen}, wording, draw))
        return found

    def _say(self, counted: dict[str, int], wording: str, draw: Draw) -> str:
        ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        parts = [
            f"{draw.one(self.many)} {plural(name)}"
            if number > self.many_above
            else amount(number, name, digits=self.digits)
            for name, number in ordered
        ]
        if ordered[0][1] == 1:  # the verb agrees with what stands next to it
            wording = wording.replace("there are {}", "there is {}")
        if [number for _, number in ordered] == [1]:
            wording = wording.replace("{} are ", "{} is ")
        listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
        return wording.replace("{}", listed)
