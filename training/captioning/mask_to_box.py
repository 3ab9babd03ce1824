"""Mask-to-Box: the boxes of a mask's connected areas (RemoteCLIP, arXiv 2306.11029, section III-B).

Per class a binary mask, its borders followed by Suzuki and Abe's algorithm (cv2.findContours, 8-connected),
and of every outer border the least and greatest x and y.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray


def boxes_of_mask(
    mask: ArrayLike, *, holes: bool = False, smallest_side: int = 1, smallest_area: int = 1
) -> NDArray[np.float32]:
    """Boxes (K, 4) float32 x1, y1, x2, y2 in pixels, ends exclusive, ordered from top left to bottom right.

    mask: (H, W), anything but 0 is the class. A hole never makes a box of its own. By the paper only the
    outermost borders count, so what lies within a hole of its own class (a shed in a courtyard) is not found;
    `holes=True` finds it too. Areas whose box is narrower or lower than `smallest_side` pixels, or whose
    outer border encloses fewer than `smallest_area` pixels (holes included), are left out as noise.
    Raises ValueError where the mask is not two-dimensional.
    """
    binary = np.ascontiguousarray(np.asarray(mask) != 0, np.uint8)
    if binary.ndim != 2:
        raise ValueError(f"a mask has two dimensions, got shape {binary.shape}")
    if not binary.any():
        return np.zeros((0, 4), np.float32)
    # RETR_CCOMP keeps two levels: outer borders, whatever they lie in, have no parent; borders of holes have.
    mode = cv2.RETR_CCOMP if holes else cv2.RETR_EXTERNAL
    borders, hierarchy = cv2.findContours(binary, mode, cv2.CHAIN_APPROX_NONE)
    parents = np.asarray(hierarchy).reshape(-1, 4)[:, 3]
    found: list[tuple[int, int, int, int]] = []
    for border, parent in zip(borders, parents, strict=True):
        x, y, width, height = cv2.boundingRect(border)
        if parent < 0 and min(width, height) >= smallest_side and _enclosed(border) >= smallest_area:
            found.append((y, x, y + height, x + width))
    # The library's own order is a detail of its version; captions and shards must not depend on it.
    ordered = np.asarray(sorted(found), np.float32).reshape(-1, 4)
    return ordered[:, [1, 0, 3, 2]]


def _enclosed(border: NDArray[Any]) -> int:
    """Pixels on and within a border whose every pixel is listed, by Pick's theorem."""
    length = len(border)
    return 1 if length == 1 else round(cv2.contourArea(border) + length / 2 + 1)
