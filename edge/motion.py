"""How the camera moved between two frames, from the picture alone: sparse optical flow on a small grey one.

Corners are followed with pyramidal Lucas-Kanade, and the homography that most of them agree on is the motion:
exact for flat ground, whatever the camera does. Where too many disagree they are followed back, too (Kalal's
forward-backward check). Those that agreed are followed on until many are lost; then new ones are chosen. What
is tracked is left out, because it may move by itself, unless it fills most of the frame: a forest stands
still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.optical_flow import (
    KEPT,
    MIN_CORNERS,
    NO_POINTS,
    Box,
    Shrinker,
    find_corners,
    fitted,
    standing,
    unexplained,
    within,
)

if TYPE_CHECKING:
    from edge.frames import Image, Pixels

_Floats: TypeAlias = NDArray[np.float64]

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
        self._grey: Pixels | None = None  # small pictures of the last frame and of the one before
        self._before: Pixels | None = None
        self._corners = NO_POINTS
        self._chosen = 0  # how many corners there were when they were chosen
        self._size = (0, 0)
        # They take turns: the last picture stays while the next is made.
        self._shrinkers = Shrinker(), Shrinker()

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
        shrinker, other = self._shrinkers
        self._shrinkers = other, shrinker
        size, corners = (image.width, image.height), self._corners
        before = self._before = self._grey if self._size == size else None
        self._grey, self._size, self._corners = shrinker.grey(image), size, NO_POINTS
        if before is None:
            return None
        fit = fitted(before, self._grey, corners)
        if fit is None:
            return None
        to_small = _pixel_scale(self._scale())
        motion = CameraMotion(np.linalg.inv(to_small) @ fit.matrix @ to_small, fit.share)
        if not _believable(motion, *self._size):
            return None
        self._corners = fit.standing
        return motion

    def choose(self, boxes: Sequence[Box] = ()) -> None:
        """Chooses what the next frame's motion is measured by: what stands in the frame followed last.

        Args:
            boxes: as in `update`.
        """
        if self._grey is None:
            return
        mask = standing(self._grey, boxes, self._scale())
        kept = within(self._corners, mask)
        if len(kept) < max(MIN_CORNERS, KEPT * self._chosen):
            kept = find_corners(self._grey, mask)
            self._chosen = len(kept)
        self._corners = kept

    def strangeness(self, motion: CameraMotion) -> Pixels | None:
        """What the camera's motion does not explain in the frame followed last.

        Returns:
            (h, w) uint8 grey levels of the frame, shrunk to a width of WIDTH; 0 where the frame before did
            not show it. None where there is no frame before.
        """
        before, now = self._before, self._grey
        if before is None or now is None:
            return None
        to_small = _pixel_scale(self._scale())
        return unexplained(before, now, to_small @ motion.matrix @ np.linalg.inv(to_small))

    def _scale(self) -> tuple[float, float]:
        assert self._grey is not None
        return self._grey.shape[1] / self._size[0], self._grey.shape[0] / self._size[1]


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
