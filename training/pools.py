"""Object sets in memory: decoded images with the recipe's classes, drawn so that rare ones are seen."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.captioning.box_to_caption import BoxToCaption
from training.errors import DataError
from training.prompts import sentences
from training.readers import OBJECT_READERS, masks
from training.recipe import ObjectSet
from training.samples import CaptionSample, ObjectSample
from training.splits import FOLDER as SPLIT_LISTS
from training.splits import read_part


class ObjectPool:
    """One object set in memory: decoded images, samples mapped to the recipe's classes."""

    def __init__(
        self, root: Path, spec: ObjectSet, split: str, templates: list[str], thermal: list[str]
    ) -> None:
        self.spec = spec
        folder = root / spec.name
        names, samples = read_part(OBJECT_READERS[spec.format], folder, split)
        table = masks.colours(folder) if spec.areas else {}
        for name in (*spec.objects, *spec.areas):
            if name not in names:
                raise DataError(
                    f"{folder}: no class {name!r} (the recipe names it; here are {', '.join(names)})"
                )
        self.classes = list(spec.objects)
        column = {names.index(name): i for i, name in enumerate(self.classes)}
        self.samples = [_relabelled(s, column) for s in samples]
        if not self.samples:
            raise DataError(f"{folder}: no images of split {split} (see the lists in {SPLIT_LISTS})")
        self.images = [read_rgb(s.path) for s in self.samples]
        self.areas = list(spec.areas)
        self.colours = [table[name] for name in self.areas]
        self.masks = [masks.read_mask(s.mask) if s.mask and self.areas else None for s in self.samples]
        self.showing = [
            [i for i, sample in enumerate(self.samples) if (sample.labels == label).any()]
            for label in range(len(self.classes))
        ]
        frequency = np.sqrt([len(images) for images in self.showing])
        self.rarity = frequency / frequency.sum() if frequency.any() else np.empty(0)
        chosen = thermal if spec.thermal else templates
        self.words = [sentences(spec.objects[name], chosen) for name in self.classes]
        self.area_words = [sentences(spec.areas[name], templates) for name in self.areas]

    def draw(self, rng: np.random.Generator) -> tuple[int, int | None]:
        """A random image, and the class to look at: half of the draws favour rare classes."""
        if not len(self.rarity) or rng.random() < 0.5:
            return int(rng.integers(len(self.samples))), None
        label = int(rng.choice(len(self.rarity), p=self.rarity))
        return int(rng.choice(self.showing[label])), label

    def captioned(self) -> list[tuple[NDArray[np.uint8], CaptionSample]]:
        """Every image that shows something, with its Box-to-Caption sentences."""
        names = [self.spec.objects[name][0] for name in self.classes]
        writer = BoxToCaption()
        found = []
        for image, sample in zip(self.images, self.samples, strict=True):
            height, width = image.shape[:2]
            key = f"{self.spec.name}/{sample.path.name}"
            texts = writer.caption(sample.centres, sample.labels, names, width, height, key)
            if texts:
                found.append((image, CaptionSample(sample.path, texts)))
        return found


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 RGB. Raises DataError where OpenCV cannot read it."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path}: not an image that OpenCV reads (remove or repair it)")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _relabelled(sample: ObjectSample, column: dict[int, int]) -> ObjectSample:
    """The sample with only the recipe's classes, numbered as the recipe lists them."""
    keep = np.isin(sample.labels, list(column))
    labels = np.array([column[int(label)] for label in sample.labels[keep]], np.int64)
    return ObjectSample(
        sample.path, sample.centres[keep], sample.sizes[keep], labels, sample.ignored, sample.mask
    )
