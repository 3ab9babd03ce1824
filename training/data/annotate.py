"""From a sample of any reader to what a shard says of its image: sentences, boxes and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.captioning.draw import Draw
from training.captioning.words import readable, with_article
from training.data.caption_options import CaptionOptions
from training.data.recipe import DataSet
from training.samples import CaptionSample, ObjectSample

_AREAS = 3  # areas that one sentence names at most


@dataclass(frozen=True, slots=True)
class Annotation:
    """What KEY.json holds of one image, boxes still in pixels of the image as it was examined."""

    captions: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    labels: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    ignored: tuple[tuple[float, float, float, float], ...] = ()
    label: str = ""

    def document(
        self, data_set: str, file: str, size: tuple[int, int], stored: tuple[int, int]
    ) -> dict[str, Any]:
        """The JSON object for an image of `size` that is stored with the size `stored` (width, height)."""
        across, down = stored[0] / size[0], stored[1] / size[1]

        def scaled(boxes: Sequence[tuple[float, float, float, float]]) -> list[list[float]]:
            factors = (across, down, across, down)
            return [[round(x * by, 2) for x, by in zip(box, factors, strict=True)] for box in boxes]

        return {
            "captions": list(self.captions),
            "set": data_set,
            "file": file,
            "boxes": scaled(self.boxes),
            "labels": list(self.labels),
            "names": list(self.names),
            "ignored": scaled(self.ignored),
            "width": stored[0],
            "height": stored[1],
            "label": self.label,
        }


class Annotator:
    """Says what the samples of one set show. The same seed and file give the same sentences.

    names: the set's classes by label, as its reader gives them.
    """

    def __init__(
        self, data_set: DataSet, names: Sequence[str], options: CaptionOptions, seed: int = 0
    ) -> None:
        self._set, self._all, self._options, self._seed = data_set, tuple(names), options, seed
        # Without a table every class is spoken of by its own name, but for those that are named as areas.
        self._nouns = data_set.classes or {name: [name] for name in names if name not in data_set.areas}
        self._counted = tuple(name for name in names if name in self._nouns)
        self._of_boxes = options.box_to_caption(seed)
        self._of_class = options.class_to_caption(seed)

    def annotate(self, sample: ObjectSample | CaptionSample, file: str, size: tuple[int, int]) -> Annotation:
        """The annotation of an image of width and height `size`; no captions where nothing is known of it."""
        key = f"{self._set.name}/{file}"
        if isinstance(sample, ObjectSample):
            return self._objects(sample, key, size)
        if self._set.captions == "captions":
            return Annotation(sample.captions, names=self._all, label=sample.label)
        said = self._of_class.caption(self._nouns.get(sample.label, ()), key)
        return Annotation(said, names=self._all, label=sample.label)

    def _objects(self, sample: ObjectSample, key: str, size: tuple[int, int]) -> Annotation:
        draw = Draw(f"{self._seed}:nouns:{key}")
        position = {self._all.index(name): label for label, name in enumerate(self._counted)}
        kept = [i for i, label in enumerate(sample.labels.tolist()) if label in position]
        labels = tuple(position[int(sample.labels[i])] for i in kept)
        nouns = [draw.one(self._nouns[name][: None if self._options.vary else 1]) for name in self._counted]
        sentences = self._of_boxes.caption(sample.centres[kept], labels, nouns, *size, key)
        return Annotation(
            sentences + self._areas(sample, draw),
            tuple(_box(row) for row in sample.boxes()[kept]),
            labels,
            self._counted,
            tuple(_box(row) for row in sample.ignored),
        )

    def _areas(self, sample: ObjectSample, draw: Draw) -> tuple[str, ...]:
        """One sentence that names areas without a number: a mask's pieces of lawn are not objects."""
        present = {self._all[label] for label in sample.labels.tolist()}
        found = [nouns for name, nouns in self._set.areas.items() if name in present]
        if not found:
            return ()
        chosen = draw.shuffled(found)[: 1 + draw.below(_AREAS)]
        named = [with_article(readable(draw.one(nouns))) for nouns in chosen]
        listed = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
        return (draw.one(self._options.of_areas).replace("{}", listed),)


def _box(row: Any) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in row)
    return x1, y1, x2, y2
