"""Box-to-Caption: what an image's boxes say about it (RemoteCLIP, arXiv 2306.11029, section III-B).

The paper gives the scheme: a caption of what lies in the centre, one of what does not, and counts of
randomly chosen classes, with a general word above ten. It gives neither its wordings nor what "centre"
means; both are options here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_IRREGULAR = {"person": "people", "bus": "buses", "aircraft": "aircraft", "human": "humans"}


def plural(noun: str) -> str:
    """The plural of a phrase: its last word's ("city bus" -> "city buses")."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


@dataclass(frozen=True, slots=True)
class BoxToCaption:
    """Options of Box-to-Caption.

    captions: sentences an image; centre: width and height of the centre window as fractions of the frame;
    many_above: counts above it are named by a general word; digits: "3 cars" instead of "three cars".
    """

    captions: int = 5
    centre: tuple[float, float] = (0.5, 0.5)
    many_above: int = 10
    digits: bool = False
    seed: int = 0
    many: tuple[str, ...] = ("many", "a lot of", "lots of", "plenty of")
    in_centre: tuple[str, ...] = (
        "{} in the middle of the picture",
        "there are {} in the middle of the picture",
        "{} in the center of this remote sensing image",
    )
    at_edge: tuple[str, ...] = (
        "{} at the edge of the picture",
        "there are {} near the border of the picture",
        "{} around the middle of this aerial image",
    )
    counts: tuple[str, ...] = (
        "{} in this remote sensing image",
        "there are {} in the picture",
        "an aerial image with {}",
        "{} can be seen from above",
        "a drone image of {}",
    )

    def caption(
        self,
        centres: ArrayLike,
        labels: ArrayLike,
        names: Sequence[str],
        width: float,
        height: float,
        seed_key: str,
    ) -> tuple[str, ...]:
        """Captions of one image; none where nothing is annotated.

        centres: (K, 2) box centres in pixels; labels: (K,) index into names; width, height: of the image,
        pixels. The same seed and seed_key give the same sentences.
        """
        place = np.asarray(centres, np.float64).reshape(-1, 2)
        label = np.asarray(labels, np.int64)
        if not len(label):
            return ()
        digest = hashlib.sha256(f"{self.seed}:{seed_key}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        apart = np.abs(place / np.array([width, height]) - 0.5)
        central = np.all(apart <= np.array(self.centre) / 2, axis=1)
        found: list[str] = []
        for inside, templates in ((central, self.in_centre), (~central, self.at_edge)):
            if inside.any():
                found.append(self._say(label[inside], names, templates, rng))
        while len(found) < self.captions:
            present = np.unique(label)
            chosen = rng.choice(present, int(rng.integers(1, min(len(present), 3) + 1)), replace=False)
            found.append(self._say(label[np.isin(label, chosen)], names, self.counts, rng))
        return tuple(found[: self.captions])

    def _say(
        self,
        labels: NDArray[np.int64],
        names: Sequence[str],
        templates: Sequence[str],
        rng: np.random.Generator,
    ) -> str:
        counted = Counter(labels.tolist()).most_common(3)
        parts = [self._amount(number, names[index], rng) for index, number in counted]
        listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
        sentence = str(rng.choice(list(templates))).format(listed)
        return sentence.replace("there are one ", "there is one ")

    def _amount(self, number: int, noun: str, rng: np.random.Generator) -> str:
        if number > self.many_above:
            return f"{rng.choice(list(self.many))} {plural(noun)}"
        amount = str(number) if self.digits or number >= len(_WORDS) else _WORDS[number]
        return f"{amount} {noun if number == 1 else plural(noun)}"
