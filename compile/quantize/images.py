"""Calibration images: what shows an int8 graph the range of its activations. Never validation or test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from edge.engines.base import U8
from edge.frames import RgbImage
from edge.letterbox import best_image_size, letterbox
from firmware_cfg.errors import UsageError
from training.pools import read_rgb
from training.readers import OBJECT_READERS, captions
from training.readers.files import IMAGE_SUFFIXES
from training.splits import belongs, read_part

if TYPE_CHECKING:
    from training.recipe import Recipe

WANTED = 500  # published post-training quantization stops winning there

Item = TypeVar("Item")
Sizes = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class CalibrationImages:
    """Image files, read and letterboxed as the drone does when they are asked for.

    Attributes:
        paths: the chosen files; wanted: how many were asked for.
        image_sizes: (width, height) of the model's tiles; each image goes to the one that suits it.
        source: where they are from, for messages.
    """

    paths: tuple[Path, ...]
    wanted: int
    image_sizes: tuple[tuple[int, int], ...]
    source: str

    @classmethod
    def from_recipe(
        cls, recipe: Recipe, root: Path, image_sizes: Sizes, wanted: int = WANTED
    ) -> CalibrationImages:
        """Training images of a recipe's sets, as evenly from each as the sets allow.

        Raises DataError where a set cannot be read, UsageError where there are no images.
        """
        groups = []
        for objects in recipe.object_sets:
            _, samples = read_part(OBJECT_READERS[objects.format], root / objects.name, "train")
            groups.append([sample.path for sample in samples])
        for spec in recipe.caption_sets:
            folder = root / spec.name
            found = captions.read_karpathy(folder, "train")
            groups.append([sample.path for sample in found if belongs(spec.name, sample.path, "train")])
        return cls._of(groups, wanted, image_sizes, str(root))

    @classmethod
    def from_folder(cls, folder: Path, image_sizes: Sizes, wanted: int = WANTED) -> CalibrationImages:
        """Images anywhere below a folder of the user's. Raises UsageError where there are none."""
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder of calibration images")
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        return cls._of([files], wanted, image_sizes, str(folder))

    @classmethod
    def _of(cls, groups: Sequence[list[Path]], wanted: int, sizes: Sizes, source: str) -> CalibrationImages:
        if wanted < 1:
            raise UsageError(f"calibration wants at least 1 image, not {wanted}")
        shares = share_out([len(group) for group in groups], wanted)
        chosen = [path for group, n in zip(groups, shares, strict=True) for path in evenly(group, n)]
        if not chosen:
            raise UsageError(f"{source}: no images to calibrate on")
        return cls(tuple(chosen), wanted, tuple(sizes), source)

    @property
    def warning(self) -> str:
        """What to say where there are too few images; else empty."""
        count = len(self.paths)
        if count >= WANTED:
            return ""
        least = min(self.wanted, WANTED)
        what = f"calibrated on {count} images, fewer than the {WANTED} that int8 wants"
        return f"{self.source}: {what}: ranges may be too narrow" if count < least else f"{what}, as asked"

    def few(self, count: int) -> CalibrationImages:
        """At most `count` of these images, evenly chosen."""
        return replace(self, paths=tuple(evenly(self.paths, count)))

    def of_size(self, image_size: tuple[int, int]) -> CalibrationImages:
        """The same images for a graph that takes one (width, height) only."""
        return replace(self, image_sizes=(image_size,))

    def tile(self, path: Path) -> U8:
        """One image as the model sees it, (1, H, W, 3) uint8 RGB. Raises DataError."""
        image = read_rgb(path)
        width, height = best_image_size(image.shape[1], image.shape[0], self.image_sizes)
        return np.ascontiguousarray(letterbox(RgbImage(image), width, height)[0][None])


def share_out(sizes: Sequence[int], wanted: int) -> list[int]:
    """How many to take of groups of these sizes: equal shares; what a small group lacks the others give."""
    shares = [0] * len(sizes)
    left = wanted
    # The smallest group first: what it lacks is shared among those that are left.
    for done, i in enumerate(sorted(range(len(sizes)), key=lambda i: sizes[i])):
        shares[i] = min(sizes[i], left // (len(sizes) - done))
        left -= shares[i]
    return shares


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly spaced over all of them."""
    if count >= len(items):
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]
