"""Questions about a pair from the annotations of its images, whatever their format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from training.blindpairs.patterns import Asked, Shown, Things, ask_objects
from training.captioning.words import NO_THINGS, with_article
from training.evaluation.labelled import dataset_name, read_labelled
from training.evaluation.objects import object_task
from training.evaluation.vocabulary import words
from training.readers import OBJECT_READERS
from training.samples import CaptionSample, ObjectSample


class Annotated(Protocol):
    """Images of a set with what is known of them, by number."""

    paths: Sequence[Path]

    def ask(self, first: int, second: int) -> list[Asked]:
        """At most one question of every pattern; none where the annotations do not tell the images apart."""


def read_annotated(
    folder: Path, form: str, split: str, classes: Sequence[str] = ()
) -> ImageLabels | ImageObjects:
    """The images of a split, of any format that a reader knows. Raises as the set's evaluation would."""
    if form in OBJECT_READERS:
        task = object_task(folder, split, form, classes)
        return ImageObjects(task.dataset, task.names, task.samples)
    return ImageLabels(dataset_name(folder), read_labelled(folder, split))


class ImageLabels:
    """Images with one class each: pattern `class`."""

    def __init__(self, dataset: str, samples: Sequence[CaptionSample]) -> None:
        self.paths = [sample.path for sample in samples]
        self._labels = [words(dataset, sample.label) for sample in samples]

    def ask(self, first: int, second: int) -> list[Asked]:
        """See Annotated.ask."""
        a, b = self._labels[first], self._labels[second]
        if a == b:
            return []
        return [("class", f"an aerial photo of {with_article(a)}", f"an aerial photo of {with_article(b)}")]


@dataclass(frozen=True)
class ImageObjects:
    """Images with objects: the patterns of patterns.py.

    names: the set's classes, which the samples' labels index; samples: one an image.
    """

    dataset: str
    names: tuple[str, ...]
    samples: Sequence[ObjectSample]

    @property
    def paths(self) -> list[Path]:
        """See Annotated.paths."""
        return [sample.path for sample in self.samples]

    @cached_property
    def _shown(self) -> list[Shown]:
        return [Shown(sample, len(self.names)) for sample in self.samples]

    @cached_property
    def _things(self) -> Things:
        named = {number: words(self.dataset, name) for number, name in enumerate(self.names)}
        return {number: word for number, word in named.items() if word not in NO_THINGS}

    def ask(self, first: int, second: int) -> list[Asked]:
        """See Annotated.ask."""
        return ask_objects(self._shown[first], self._shown[second], self._things)
