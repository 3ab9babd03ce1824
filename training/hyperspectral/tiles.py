"""Parts of a scene: crops to train on and tiles to predict by, so that a large scene needs little memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.hyperspectral.network import SpectralSpatialNet

F32: TypeAlias = NDArray[np.float32]

CROP = 128
"""Side in pixels of what a step trains on; a smaller scene is taken whole."""
TILE = 256
"""Side in pixels of what is predicted at a time, without its margin."""


@dataclass(frozen=True, slots=True)
class Box:
    """Rows top to bottom and columns left to right of a scene, the ends excluded."""

    top: int
    left: int
    bottom: int
    right: int


def crop_boxes(box: Box) -> tuple[slice, slice]:
    """A box as the index of an array's last two axes."""
    return slice(box.top, box.bottom), slice(box.left, box.right)


def random_box(shape: tuple[int, int], rng: np.random.Generator) -> Box:
    """A crop anywhere in a scene of that many rows and columns."""
    height, width = (min(side, CROP) for side in shape)
    top, left = (
        int(rng.integers(side - part + 1)) for side, part in zip(shape, (height, width), strict=True)
    )
    return Box(top, left, top + height, left + width)


@torch.inference_mode()
def predict_scene(model: SpectralSpatialNet, cube: Tensor, views: int) -> F32:
    """Class probabilities (C, H, W) of a standardised cube (B, H, W), the mean over `views` (1 or 8)."""
    model.eval()
    height, width = cube.shape[1:]
    rows: list[Tensor] = []
    for top in range(0, height, TILE):
        row: list[Tensor] = []
        for left in range(0, width, TILE):
            bottom, right = min(height, top + TILE), min(width, left + TILE)
            upper, before = min(top, model.reach), min(left, model.reach)
            part = cube[:, top - upper : bottom + model.reach, left - before : right + model.reach]
            out = _mean_view(model, part[None], views)
            row.append(out[:, upper : upper + bottom - top, before : before + right - left])
        rows.append(torch.cat(row, dim=2))
    probability: F32 = torch.cat(rows, dim=1).numpy()
    return probability


def _mean_view(model: SpectralSpatialNet, part: Tensor, views: int) -> Tensor:
    total: Tensor | None = None
    for view in range(views):
        seen = torch.rot90(part.flip(3) if view >= 4 else part, view % 4, (2, 3))
        out = torch.rot90(model(seen).softmax(dim=1), -(view % 4), (2, 3))
        out = (out.flip(3) if view >= 4 else out)[0]
        total = out if total is None else total + out
    assert total is not None
    return total / views
