"""Corners of a small grey picture, where they are in the next one, and the homography that they agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.frames import RgbImage

if TYPE_CHECKING:
    from edge.frames import Image, Pixels

Box: TypeAlias = tuple[float, float, float, float]
Points: TypeAlias = NDArray[np.float32]  # (N, 1, 2), as OpenCV has them
_Floats: TypeAlias = NDArray[np.float64]

NO_POINTS: Points = np.empty((0, 1, 2), np.float32)

WIDTH = 320
"""Of the small picture, pixels."""
_CORNERS = 160
_APART_PX = 10.0
KEPT = 0.75
"""While this share of the corners that were chosen is left, no new ones are."""
_EDGE_PX = 2.0
"""A corner this near to the edge of the small picture is as good as lost."""
_WINDOW = (9, 9)
_LEVELS = 3
_STEPS, _STEP_PX = 10, 0.03
"""A corner is found after so many steps, or one this short."""
_SURE = 0.85
"""Where fewer of the corners agree they are followed back ..."""
_BACK_PX = 0.7
"""... and must come out this near to where they were, pixels of the small picture."""
_FIT_PX = 1.0
MIN_CORNERS = 16
_MIN_INLIERS = 0.5
_MIN_SPREAD = 0.1
"""Deviation of the corners, as a share of the frame's sides: one boat on empty water tells nothing."""
_MOST_COVERED = 0.5
_MOST_ARRAYS = 8
"""Of one size of frames: 16 times WIDTH in halves, and the grey picture."""


@lru_cache(maxsize=1)
def _one_threaded_cv2() -> Any:
    """OpenCV, slow to load, so that it pushes no engine off a core: a small picture needs one thread."""
    import cv2

    cv2.setNumThreads(1)
    return cv2


class Shrinker:
    """Makes the small grey picture in arrays that it keeps: halves cost a tenth of what other ratios do."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[int, ...], Pixels] = {}

    def grey(self, image: Image) -> Pixels:
        """(h, WIDTH) or less uint8, valid until the next call."""
        cv2 = _one_threaded_cv2()
        pixels = image.pixels if isinstance(image, RgbImage) else image.y
        width = min(WIDTH, image.width)
        height = max(1, round(image.height * width / image.width))
        while pixels.shape[1] >= 2 * width and not (pixels.shape[1] % 2 or pixels.shape[0] % 2):
            pixels = self._resized(pixels, pixels.shape[1] // 2, pixels.shape[0] // 2)
        if pixels.shape[:2] != (height, width):
            pixels = self._resized(pixels, width, height)
        if isinstance(image, RgbImage):
            return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY, dst=self._kept((height, width))))
        # A frame as small as this is the decoder's own memory, which the next frame may be written to.
        return pixels.copy() if pixels is image.y else pixels

    def _resized(self, pixels: Pixels, width: int, height: int) -> Pixels:
        import cv2

        into = self._kept((height, width, *pixels.shape[2:]))
        return np.asarray(cv2.resize(pixels, (width, height), dst=into, interpolation=cv2.INTER_AREA))

    def _kept(self, shape: tuple[int, ...]) -> Pixels:
        if shape not in self._arrays:
            if len(self._arrays) > _MOST_ARRAYS:
                self._arrays.clear()  # frames of another size
            self._arrays[shape] = np.empty(shape, np.uint8)
        return self._arrays[shape]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What corners agree on.

    matrix    (3, 3) float64 homography, pixels of the earlier small picture -> of the later
    share     (0 to 1) of those followed that agree
    standing  (N, 1, 2) float32 those, in the later picture
    """

    matrix: _Floats
    share: float
    standing: Points


def standing(grey: Pixels, boxes: Sequence[Box], scale: tuple[float, float]) -> Pixels:
    """255 in the small picture outside of the boxes, and all over it where those are most of it; else 0."""
    mask = np.full(grey.shape, 255, np.uint8)
    if len(boxes):
        spans = np.array(boxes, np.float64) * [*scale, *scale]
        low, high = np.floor(spans[:, :2]).clip(0).astype(int), np.ceil(spans[:, 2:]).clip(0).astype(int)
        for (x1, y1), (x2, y2) in zip(low.tolist(), high.tolist(), strict=True):
            mask[y1:y2, x1:x2] = 0
        if np.count_nonzero(mask) < (1 - _MOST_COVERED) * mask.size:
            mask[:] = 255
    return mask


def within(corners: Points, mask: Pixels) -> Points:
    """Those of the corners that are not near the picture's edge, nor where the mask is 0."""
    x, y = corners[:, 0, 0], corners[:, 0, 1]
    height, width = mask.shape
    kept = (x >= _EDGE_PX) & (y >= _EDGE_PX) & (x < width - _EDGE_PX) & (y < height - _EDGE_PX)
    corners = corners[kept]
    at = corners[:, 0].astype(np.intp)
    return corners[mask[at[:, 1], at[:, 0]] > 0]


def find_corners(grey: Pixels, mask: Pixels) -> Points:
    """(N, 1, 2) float32 corners of the small picture."""
    import cv2

    found = cv2.goodFeaturesToTrack(grey, _CORNERS, 0.01, _APART_PX, mask=mask)
    return NO_POINTS if found is None else np.asarray(found, np.float32)


def fitted(before: Pixels, now: Pixels, corners: Points) -> Fit | None:
    """What most of the corners agree on; None in doubt."""
    if len(corners) < MIN_CORNERS:
        return None
    there, kept = _follow(before, now, corners)
    fit = _agreed(corners, there, kept, now.shape)
    if fit is None or fit.share < _SURE:
        back, found_back = _follow(now, before, there)
        kept &= found_back & (abs(back - corners).max(axis=(1, 2)) < _BACK_PX)
        fit = _agreed(corners, there, kept, now.shape)
    return fit


def unexplained(before: Pixels, now: Pixels, matrix: _Floats) -> Pixels:
    """(h, w) uint8 by how much one small picture differs from the other, moved by the homography.

    The least difference within a pixel counts: edges that the motion puts half a pixel off did not move by
    themselves.
    """
    import cv2

    size = (now.shape[1], now.shape[0])
    there = cv2.warpPerspective(before, matrix, size, borderMode=cv2.BORDER_CONSTANT)
    inside = cv2.warpPerspective(np.full_like(before, 255), matrix, size, flags=cv2.INTER_NEAREST)
    around = np.ones((3, 3), np.uint8)
    above = cv2.subtract(now, cv2.dilate(there, around))
    below = cv2.subtract(cv2.erode(there, around), now)
    inside = cv2.erode(inside, np.ones((5, 5), np.uint8), borderValue=0)
    return np.asarray(cv2.bitwise_and(cv2.max(above, below), inside), np.uint8)


def _agreed(corners: Points, there: Points, kept: NDArray[np.bool_], shape: tuple[int, ...]) -> Fit | None:
    import cv2

    if np.count_nonzero(kept) < max(MIN_CORNERS, 0.3 * len(corners)):
        return None
    new = there[kept]
    # The stubs promise a matrix; there is none where no four corners agree.
    found: tuple[Any, Any] = cv2.findHomography(
        corners[kept], new, cv2.RANSAC, _FIT_PX, maxIters=500, confidence=0.999
    )
    matrix, agree = found
    if matrix is None or agree is None:
        return None
    still = new[agree[:, 0] == 1]
    share = len(still) / len(new)
    if share < _MIN_INLIERS or len(still) < MIN_CORNERS:
        return None
    spread = still[:, 0].std(axis=0) / [shape[1], shape[0]]
    return None if spread.min() < _MIN_SPREAD else Fit(np.asarray(matrix, np.float64), share, still)


def _follow(before: Pixels, now: Pixels, points: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Where the points (N, 1, 2) of one small picture are in another, and which were found (N,)."""
    import cv2

    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before,
        now,
        points,
        np.empty_like(points),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _STEPS, _STEP_PX),
    )
    return np.asarray(there, np.float32), np.asarray(found)[:, 0] == 1
