"""What the dense maps should say: Gaussians on objects, coverage of areas, and where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.augment import Crop
from training.models.lite import STRIDE

_POINT_SIZE = 14.0  # pixels: the extent assumed for an object given as a point
_SMALLEST_SIGMA = 0.6  # cells


@dataclass(frozen=True, slots=True)
class MapTarget:
    """Targets of one crop on its h x w grid, for C classes.

    heat: (C, h, w) float32 in 0..1, exactly 1 in the cell of an object's centre; known: (h, w) float32, 0
    where the annotators left it open; box: (K, 4) float32 centre offset and log size in cells; cell: (K,)
    int64 flat index; sized: (K,) float32, 0 for points, whose size nobody knows.
    """

    heat: NDArray[np.float32]
    known: NDArray[np.float32]
    box: NDArray[np.float32]
    cell: NDArray[np.int64]
    sized: NDArray[np.float32]


def object_target(crop: Crop, classes: int) -> MapTarget:
    """Gaussians of a sixth of the box size on every object of the crop (CenterNet)."""
    side = crop.image.shape[0] // STRIDE
    grid = np.arange(side, dtype=np.float32)
    heat = np.zeros((classes, side, side), np.float32)
    known = np.ones((side, side), np.float32)
    for x1, y1, x2, y2 in crop.ignored / STRIDE:
        known[max(int(y1), 0) : max(int(np.ceil(y2)), 0), max(int(x1), 0) : max(int(np.ceil(x2)), 0)] = 0
    centres = crop.centres / STRIDE
    whole = np.minimum(np.floor(centres), side - 1)
    sigma = np.maximum(np.where(crop.sizes > 0, crop.sizes, _POINT_SIZE) / STRIDE / 6, _SMALLEST_SIGMA)
    for (cx, cy), (sx, sy), label in zip(whole, sigma, crop.labels, strict=True):
        gauss = np.exp(-0.5 * ((grid[:, None] - cy) / sy) ** 2) * np.exp(
            -0.5 * ((grid[None, :] - cx) / sx) ** 2
        )
        np.maximum(heat[label], gauss, out=heat[label])
    size = np.log(np.maximum(crop.sizes, 1.0) / STRIDE)
    return MapTarget(
        heat,
        known,
        np.concatenate([centres - whole - 0.5, size], axis=1).astype(np.float32),
        (whole[:, 1] * side + whole[:, 0]).astype(np.int64),
        np.all(crop.sizes > 0, axis=1).astype(np.float32),
    )


def area_target(crop: Crop, colours: Sequence[tuple[int, int, int]]) -> NDArray[np.float32]:
    """Share of every cell that each class's colour covers, (C, h, w) float32 in 0..1.

    -1 where less than half of the cell is labelled: outside the image, or left black by the annotators.
    """
    assert crop.mask is not None, "a set with areas has masks"
    side = crop.image.shape[0] // STRIDE
    covers = [np.all(crop.mask == np.asarray(colour, np.uint8), axis=2) for colour in colours]
    cells = np.stack(covers).reshape(len(colours), side, STRIDE, side, STRIDE)
    share: NDArray[np.float32] = cells.mean(axis=(2, 4), dtype=np.float32)
    labelled = crop.mask.any(axis=2).reshape(side, STRIDE, side, STRIDE).mean(axis=(1, 3))
    share[:, labelled < 0.5] = -1.0
    return share
