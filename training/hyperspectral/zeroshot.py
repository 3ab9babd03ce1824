"""Land cover by sentences alone: sliding windows, whole-image debiasing, scales and views, confidence.

SPECIAL, papers.md section 3, steps 2 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from firmware_cfg.errors import UsageError
from training.hyperspectral.dense import DenseTower

F32: TypeAlias = NDArray[np.float32]
U8: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]
Passes: TypeAlias = Callable[[Sequence[tuple[float, int]]], Iterable[tuple[float, int]]]
"""Wraps the (scale, view) passes over a scene, to show how far they are."""

GLOBAL_WEIGHT = -0.3
"""What a whole window's similarity counts at each of its cells, for most of it would drown the rest."""


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """How sentences become dense labels.

    scales  the scene is resampled to each; similarities are resized back and averaged
    views   1: as it lies; 8: also turned and mirrored, undone before the average
    """

    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    views: int = 8


SINGLE = ZeroShot(scales=(1.0,), views=1)
"""Dense labels without resolution scaling: the paper's first stage."""


def parse_zero_shot(scales: str, views: int) -> ZeroShot:
    """Settings from the command line, scales such as "1,2,4". Raises UsageError."""
    try:
        sizes = tuple(float(part) for part in scales.split(","))
    except ValueError:
        sizes = ()
    if not sizes or not all(0.25 <= size <= 16 for size in sizes):
        raise UsageError(f"--scales {scales}: write numbers between 0.25 and 16, such as 1,2,4")
    if views not in (1, 8):
        raise UsageError(f"--views {views}: 1, or 8 with turned and mirrored ones")
    return ZeroShot(sizes, views)


@dataclass(frozen=True, slots=True, eq=False)
class DenseLabels:
    """What a stage says of a scene's pixels.

    probability  (C, H, W) float32, sums to 1 over the classes
    label        (H, W) int64, the likeliest class
    confidence   (H, W) float32 in 0..1: the best probability less the second (best versus second best)
    """

    probability: F32

    @property
    def label(self) -> Labels:
        return self.probability.argmax(axis=0)

    @property
    def confidence(self) -> F32:
        second, best = np.partition(self.probability, -2, axis=0)[-2:]
        return np.asarray(best - second, np.float32)


def zero_shot(
    tower: DenseTower,
    image: U8,
    sentences: F32,
    settings: ZeroShot,
    progress: Passes | None = None,
) -> DenseLabels:
    """Dense labels of an RGB image (H, W, 3) for class embeddings (C, D), C >= 2."""
    text = torch.from_numpy(sentences)
    total = np.zeros((len(sentences), *image.shape[:2]), np.float64)
    passes = [(scale, view) for scale in settings.scales for view in range(settings.views)]
    for scale, view in progress(passes) if progress else passes:
        total += undone(similarities(tower, turned(image, view), text, scale), view)
    logits = total / len(passes) * tower.logit_scale
    odds = np.exp(logits - logits.max(axis=0))
    return DenseLabels((odds / odds.sum(axis=0)).astype(np.float32))


@torch.inference_mode()
def similarities(tower: DenseTower, image: U8, text: Tensor, scale: float) -> F32:
    """Cosines (C, H, W) of an image's pixels and sentences (C, D), each window's own similarity taken off.

    The image is resampled to `scale` times its size, rounded up to whole cells. Windows of the tower's size
    lie at half-window steps; a cell that several cover has their mean.
    """
    height, width = (math.ceil(side * scale / tower.stride) * tower.stride for side in image.shape[:2])
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = height // tower.stride, width // tower.stride
    total, count = torch.zeros(len(text), rows, columns), torch.zeros(rows, columns)
    for y in window_starts(height, tower.window, tower.stride):
        for x in window_starts(width, tower.window, tower.stride):
            window = torch.from_numpy(resized[y : y + tower.window, x : x + tower.window])
            cells, whole = tower(window[None])
            cosines = torch.einsum("dhw,cd->chw", cells[0], text)
            cosines += GLOBAL_WEIGHT * (text @ whole[0])[:, None, None]
            top, left = y // tower.stride, x // tower.stride
            part = np.s_[top : top + cosines.shape[1], left : left + cosines.shape[2]]
            total[(slice(None), *part)] += cosines
            count[part] += 1
    mean = (total / count)[None]
    back: F32 = F.interpolate(mean, size=image.shape[:2], mode="bilinear", align_corners=False)[0].numpy()
    return back


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side of whole cells: half-window steps of whole cells, the last flush."""
    if side <= window:
        return [0]
    step = max(stride, window // 2 // stride * stride)
    return [*range(0, side - window, step), side - window]


def turned(image: NDArray[np.generic], view: int) -> NDArray[np.generic]:
    """(H, W, ...) turned by a quarter `view % 4` times; views 4 to 7 are mirrored first."""
    mirrored = image[:, ::-1] if view >= 4 else image
    return np.ascontiguousarray(np.rot90(mirrored, view % 4))


def undone(maps: F32, view: int) -> F32:
    """Maps (C, h, w) of a turned image as they lie in the image itself."""
    back = np.rot90(maps, -(view % 4), axes=(1, 2))
    return np.ascontiguousarray(back[:, :, ::-1] if view >= 4 else back)
