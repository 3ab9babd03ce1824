"""How the camera moved between two frames, from the picture alone: sparse optical flow on a small grey one.

Corners are followed with pyramidal Lucas-Kanade, there and back (Kalal's forward-backward check), and the
homography that most of them agree on is the motion: exact for flat ground, whatever the camera does. What is
tracked is left out, because it may move by itself, unless it fills most of the frame: a forest stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.frames import RgbImage

if TYPE_CHECKING:
    from edge.frames import Image, Pixels

Box: TypeAlias = tuple[float, float, float, float]
_Floats: TypeAlias = NDArray[np.float64]
_Points: TypeAlias = NDArray[np.float32]

WIDTH = 320
"""Of the small picture, pixels."""
_CORNERS = 240
_APART_PX = 8.0
_WINDOW = (15, 15)
_LEVELS = 3
_BACK_PX = 0.7
"""A corner followed there and back must come out this near to where it was, pixels of the small picture."""
_FIT_PX = 1.0
_MIN_CORNERS = 16
_MIN_INLIERS = 0.5
_MIN_SPREAD = 0.1
"""Deviation of the corners, as a share of the frame's sides: one boat on empty water tells nothing."""
_MOST_COVERED = 0.5
_STRETCH = 2.0
"""Between two frames nothing grows or shrinks by more than this: it would be a cut."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraMotion:
    """Where the standing world of the previous frame is in this one.

    matrix   (3, 3) float64 homography, pixels of the previous frame -> pixels of this one
    inliers  share (0 to 1) of what was followed that agrees with it; 1 where it was not measured in pictures
    """

    matrix: _Floats
    inliers: float = 1.0

    def moved(self, points: _Floats) -> _Floats:
        """Where standing points (N, 2) of the previous frame are now, (N, 2) pixels."""
        mapped = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        moved: _Floats = mapped[:, :2] / _away_from_zero(mapped[:, 2:])
        return moved

    def stretched(self, points: _Floats) -> _Floats:
        """(N, 2, 2) derivative of `moved` at each point: how directions turn and lengths grow there."""
        depth = _away_from_zero(points @ self.matrix[2, :2] + self.matrix[2, 2])[:, None, None]
        moved = self.moved(points)
        stretched: _Floats = (self.matrix[:2, :2] - moved[:, :, None] * self.matrix[2, :2]) / depth
        return stretched


class MotionEstimator:
    """Takes every frame in turn; tells the motion since the one before. Not thread-safe.

    `update` is `follow` and `choose` in one. Apart, the first needs the picture alone, so it can run while
    the engine still looks for what the second leaves out.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the last frame, as between unrelated images."""
        self._grey: Pixels | None = None
        self._corners: _Points = np.empty((0, 1, 2), np.float32)
        self._size = (0, 0)

    def update(self, image: Image, boxes: Sequence[Box] = ()) -> CameraMotion | None:
        """The motion from the last frame to this one; None at the first, after another size, or in doubt.

        Too little texture (water, fog), a cut, and motion that no plane explains are doubt.

        Args:
            image: this frame's.
            boxes: x1, y1, x2, y2 in its pixels of what may move by itself.
        """
        motion = self.follow(image)
        self.choose(boxes)
        return motion

    def follow(self, image: Image) -> CameraMotion | None:
        """As `update`, by what the last `choose` chose in the frame before."""
        grey = _small_grey(image)
        motion = None
        if self._grey is not None and self._size == (image.width, image.height):
            motion = _motion(self._grey, grey, self._corners, self._scale(grey))
        self._grey, self._size = grey, (image.width, image.height)
        self._corners = np.empty((0, 1, 2), np.float32)
        return motion

    def choose(self, boxes: Sequence[Box] = ()) -> None:
        """Chooses what the next frame's motion is measured by: what stands in the frame followed last.

        Args:
            boxes: as in `update`.
        """
        if self._grey is not None:
            self._corners = _find_corners(self._grey, boxes, self._scale(self._grey))

    def _scale(self, grey: Pixels) -> tuple[float, float]:
        return grey.shape[1] / self._size[0], grey.shape[0] / self._size[1]


def _small_grey(image: Image) -> Pixels:
    import cv2  # slow to load, and a folder of unrelated images never comes here

    width = min(WIDTH, image.width)
    size = (width, max(1, round(image.height * width / image.width)))
    if isinstance(image, RgbImage):
        small = cv2.resize(image.pixels, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    return np.asarray(cv2.resize(image.y, size, interpolation=cv2.INTER_AREA), np.uint8)


def _find_corners(grey: Pixels, boxes: Sequence[Box], scale: tuple[float, float]) -> _Points:
    """(N, 1, 2) float32 corners of the small picture, outside of the boxes unless those are most of it."""
    import cv2

    mask = np.full(grey.shape, 255, np.uint8)
    if len(boxes):
        spans = np.array(boxes, np.float64) * [*scale, *scale]
        low, high = np.floor(spans[:, :2]).clip(0).astype(int), np.ceil(spans[:, 2:]).clip(0).astype(int)
        for (x1, y1), (x2, y2) in zip(low.tolist(), high.tolist(), strict=True):
            mask[y1:y2, x1:x2] = 0
        if np.count_nonzero(mask) < (1 - _MOST_COVERED) * mask.size:
            mask[:] = 255
    found = cv2.goodFeaturesToTrack(grey, _CORNERS, 0.01, _APART_PX, mask=mask)
    return np.empty((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)


def _motion(before: Pixels, now: Pixels, corners: _Points, scale: tuple[float, float]) -> CameraMotion | None:
    import cv2

    if len(corners) < _MIN_CORNERS:
        return None
    there, found = _follow(before, now, corners)
    back, found_back = _follow(now, before, there)
    astray = abs(back - corners).max(axis=(1, 2))
    kept = found & found_back & (astray < _BACK_PX)
    if np.count_nonzero(kept) < max(_MIN_CORNERS, 0.3 * len(corners)):
        return None
    old, new = corners[kept, 0], there[kept, 0]
    matrix, agree = cv2.findHomography(old, new, cv2.RANSAC, _FIT_PX, maxIters=500, confidence=0.999)
    if matrix is None or agree is None:
        return None
    inside = agree[:, 0] == 1
    share = float(inside.mean())
    spread = new[inside].std(axis=0) / [now.shape[1], now.shape[0]] if inside.any() else np.zeros(2)
    if share < _MIN_INLIERS or np.count_nonzero(inside) < _MIN_CORNERS or spread.min() < _MIN_SPREAD:
        return None
    to_small = _pixel_scale(scale)
    motion = CameraMotion(np.linalg.inv(to_small) @ np.asarray(matrix, np.float64) @ to_small, share)
    return motion if _believable(motion, now.shape[1] / scale[0], now.shape[0] / scale[1]) else None


def _follow(before: Pixels, now: Pixels, points: _Points) -> tuple[_Points, NDArray[np.bool_]]:
    """Where the points (N, 1, 2) of one small picture are in another, and which were found (N,)."""
    import cv2

    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before, now, points, np.empty_like(points), winSize=_WINDOW, maxLevel=_LEVELS
    )
    return np.asarray(there, np.float32), np.asarray(found)[:, 0] == 1


def _pixel_scale(scale: tuple[float, float]) -> _Floats:
    """Pixels of the frame -> of the small picture; whole numbers are the pixels' centres in both."""
    x, y = scale
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]], np.float64)


def _believable(motion: CameraMotion, width: float, height: float) -> bool:
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    if not (corners @ motion.matrix[2, :2] + motion.matrix[2, 2] > 0.1).all():
        return False  # a corner of the frame went behind the camera
    growth = np.sqrt(abs(np.linalg.det(motion.stretched(corners))))
    return bool((growth < _STRETCH).all() and (growth > 1 / _STRETCH).all())


def _away_from_zero(depth: _Floats) -> _Floats:
    """Keeps the division finite for points at the horizon; they are far outside of the frame."""
    far: _Floats = np.where(abs(depth) < 1e-6, 1e-6, depth)
    return far
