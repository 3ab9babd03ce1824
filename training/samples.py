"""What every reader produces: one frozen sample an image, in pixels of that image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ObjectSample:
    """An image with the objects that its set annotates.

    centres: (K, 2) float32 x, y pixels; sizes: (K, 2) float32 width, height pixels, 0 where the set gives
    points only; labels: (K,) int64 index into the set's vocabulary; ignored: (J, 4) float32 x1, y1, x2, y2
    regions whose content the annotators left open; mask: colour mask file for classes that are areas rather
    than objects.
    """

    path: Path
    centres: NDArray[np.float32]
    sizes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignored: NDArray[np.float32]
    mask: Path | None = None

    def counts(self, classes: int) -> NDArray[np.int64]:
        """Number of objects of every class, (classes,)."""
        return np.bincount(self.labels, minlength=classes).astype(np.int64)


@dataclass(frozen=True, slots=True)
class CaptionSample:
    """An image with its sentences and, where the set has one, its scene label."""

    path: Path
    captions: tuple[str, ...]
    label: str = ""


def object_sample(
    path: Path,
    boxes: list[tuple[float, float, float, float]],
    labels: list[int],
    ignored: list[tuple[float, float, float, float]] | None = None,
    mask: Path | None = None,
) -> ObjectSample:
    """A sample from boxes x1, y1, x2, y2 in pixels; a box of zero size stands for a point."""
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    return ObjectSample(
        path,
        (array[:, :2] + array[:, 2:]) / 2,
        array[:, 2:] - array[:, :2],
        np.asarray(labels, np.int64),
        np.asarray(ignored or [], np.float32).reshape(-1, 4),
        mask,
    )
