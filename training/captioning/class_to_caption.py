"""Class-to-caption: sentences of an image of which only the class is known (scene labels, class folders)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.captioning.draw import Draw
from training.captioning.words import readable, with_article


@dataclass(frozen=True, slots=True)
class ClassToCaption:
    """Options of class-to-caption; raises ValueError for what cannot be meant.

    captions: at most so many sentences an image; wordings hold {} once, where the class goes; article: put
    "a" or "an" before what can be counted ("an airport", but "bare land", "mountains"); seed: another one
    draws other sentences.
    """

    captions: int = 5
    wordings: tuple[str, ...] = (
        "a satellite photo of {}",
        "an aerial image of {}",
        "{} seen from above",
        "this remote sensing image shows {}",
        "the picture shows {}",
    )
    article: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.captions < 1 or not self.wordings:
            raise ValueError("captions must be at least 1, wordings hold at least one")
        for wording in self.wordings:
            if wording.count("{}") != 1 or wording.count("{") + wording.count("}") != 2:
                raise ValueError(f"wordings: {wording!r} must hold {{}} once and no other braces")

    def caption(self, phrases: Sequence[str], seed_key: str) -> tuple[str, ...]:
        """Different sentences that name the class by one of its phrases each, drawn by seed and seed_key.

        Fewer than `captions` where wordings and phrases do not give more; none without phrases. Class names
        as data sets write them will do ("BareLand", "ground_track_field").
        """
        spoken = dict.fromkeys(readable(phrase) for phrase in phrases)
        named = [with_article(phrase) if self.article else phrase for phrase in spoken if phrase]
        every = dict.fromkeys(wording.replace("{}", name) for wording in self.wordings for name in named)
        return tuple(Draw(f"{self.seed}:{seed_key}").shuffled(list(every))[: self.captions])
