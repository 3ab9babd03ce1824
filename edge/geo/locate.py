"""From pixels to places on flat ground, with the accuracy that follows from the sensors', and back.

Axes are north, east, down; the ground is the plane `pose.height_m` below the camera.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge.geo.attitude import from_angles, rotation
from edge.geo.camera import CameraModel
from edge.geo.earth import Floats, LocalPlane
from edge.geo.ground import GroundPoints

if TYPE_CHECKING:
    from edge.geo.pose import Pose

MAX_H_ACC_M = 50.0
PIXEL_SIGMA = 2.0
"""One standard deviation of where a box marks a place in the picture, pixels of a frame 1280 wide."""
_SIGMA_WIDTH = 1280
_TILT_MARGIN = 4.0
"""Rays nearer to the horizon than this many times the tilt's error may look at the sky for all we know."""


class Locator:
    """One camera's pixels on the ground. Places known worse than `max_h_acc_m` (95%) are not told."""

    def __init__(self, camera: CameraModel, *, max_h_acc_m: float = MAX_H_ACC_M) -> None:
        self.camera = camera
        self._max_h_acc_m = max_h_acc_m

    def locate(self, pixels: Floats, pose: Pose, frame_size: tuple[int, int]) -> GroundPoints:
        """Where (N, 2) pixels (column, row; float64) of a frame of (width, height) lie on the ground.

        All three arrays are NaN for a pixel that shows sky, or ground so far off that h_acc_m would exceed
        its bound.
        """
        rays = self.camera.rays(np.asarray(pixels, dtype=np.float64).reshape(-1, 2), frame_size)
        turn = _rotation(pose)
        away = rays @ turn.T
        margin = np.sin(np.radians(min(90.0, _TILT_MARGIN * pose.accuracy.tilt_deg)))
        sinks = away[:, 2] > margin * np.linalg.norm(away, axis=1)  # False for NaN
        level = np.divide(away[:, :2], away[:, 2:], out=np.full((len(away), 2), np.nan), where=sinks[:, None])
        h_acc = self._h_acc(level, away[:, 2], turn, pose, frame_size)
        level[~(h_acc <= self._max_h_acc_m)] = np.nan
        h_acc[np.isnan(level[:, 0])] = np.nan
        latitude, longitude = _plane(pose).to_degrees(level * pose.height_m)
        return GroundPoints(latitude, longitude, h_acc)

    def to_pixels(
        self, latitude: Floats, longitude: Floats, pose: Pose, frame_size: tuple[int, int]
    ) -> Floats:
        """(N, 2) pixels of places on the ground, maybe outside of the frame; NaN behind the camera."""
        level = _plane(pose).from_degrees(latitude, longitude).reshape(-1, 2)
        down = np.full((len(level), 1), pose.height_m)
        return self.camera.pixels(np.concatenate([level, down], axis=1) @ _rotation(pose), frame_size)

    def _h_acc(
        self, level: Floats, sink: Floats, turn: Floats, pose: Pose, frame_size: tuple[int, int]
    ) -> Floats:
        """(N,) radius of 95%: every error's linear effect on (north, east), as independent ones add up.

        level: (N, 2) north and east of the place in heights; sink: (N,) the down part of its ray.
        """
        sure, height = pose.accuracy, pose.height_m
        north, east = level.T
        tilt, heading = height * np.radians([sure.tilt_deg, sure.heading_deg])
        # A pixel's step to the right or down moves the ray by a column of `turn` over the focal length.
        inner = self.camera.matrix(frame_size)
        pixel = height * PIXEL_SIGMA * frame_size[0] / _SIGMA_WIDTH
        steps = [
            (turn[:2, axis] - level * turn[2, axis]).T * pixel / focal / sink
            for axis, focal in ((1, inner[0, 0]), (2, inner[1, 1]))
        ]
        effects = np.stack(
            [
                level.T * sure.height_m,
                np.stack([-east, north]) * heading,
                np.stack([-north * east, -1 - east * east]) * tilt,  # about north
                np.stack([1 + north * north, north * east]) * tilt,  # about east
                *steps,
            ]
        )
        variance = np.square(effects).sum(axis=0) + sure.horizontal_m**2
        return radius_95(variance[0], variance[1], effects.prod(axis=1).sum(axis=0))


def stands_at(boxes: Floats, pose: Pose) -> Floats:
    """(N, 2) pixels at which things stand on the ground, from their (N, 4) boxes x1 y1 x2 y2.

    Seen from straight above that is the box's centre, seen from the side the middle of the edge that is down
    in the world: the lower one, unless the camera is rolled. In between, of a thing as tall as it is deep
    the picture shows depth * sin + height * cos of the camera's depression, and the ground below it has its
    centre at half of the first part.
    """
    depression = np.radians(np.clip(-pose.pitch_deg, 0.0, 90.0))
    share = 0.5 * np.sin(depression) / (np.sin(depression) + np.cos(depression))
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    upper_left, lower_right = boxes[:, :2], boxes[:, 2:]
    roll = np.radians(pose.roll_deg)
    down = np.array([np.sin(roll), np.cos(roll)])
    feet: Floats = (upper_left + lower_right) / 2 + (0.5 - share) * (lower_right - upper_left) * down
    return feet


def radius_95(north: Floats, east: Floats, both: Floats) -> Floats:
    """Radius of the circle that holds 95% of a normal error with these variances and this covariance.

    Leenhouts, "On the computation of bi-normal radial error", Navigation 32(1), 1985: a cubic in the
    ellipse's axes' ratio, right to 0.2%.
    """
    middle, spread = (north + east) / 2, np.hypot((north - east) / 2, both)
    long = np.sqrt(middle + spread)
    ratio = np.sqrt(np.maximum(middle - spread, 0.0)) / long
    radius: Floats = long * (1.960790 + ratio * (0.004071 + ratio * (0.114276 + ratio * 0.371625)))
    return radius


def ground_homography(
    camera: CameraModel, before: Pose, now: Pose, frame_size: tuple[int, int]
) -> Floats | None:
    """(3, 3) that takes a pixel of the earlier frame to where the same ground lies in this one.

    For flat ground, from above it (both heights > 0); lens distortion is left out, and so are pixels above
    the horizon. None where the ground of the earlier frame's corner (0, 0) is now exactly beside the camera:
    the matrix, whose last number is 1, would have to be infinite.
    """
    inner = np.asarray(np.linalg.inv(camera.matrix(frame_size)), dtype=np.float64)
    shift = np.eye(3)
    shift[:2, 2] = _plane(now).from_degrees(before.latitude, before.longitude)
    earlier, later = (_to_ground(inner, pose) for pose in (before, now))
    matrix = np.linalg.solve(later, shift @ earlier)
    known = abs(matrix[2, 2]) > 1e-12 * np.abs(matrix).max()
    return np.asarray(matrix / matrix[2, 2], dtype=np.float64) if known else None


def _to_ground(inner: Floats, pose: Pose) -> Floats:
    """(3, 3): a pixel (x, y, 1) to (north, east, 1) metres around the camera's foot, up to a factor."""
    forward_right_down = inner[[2, 0, 1]]
    return np.diag([pose.height_m, pose.height_m, 1.0]) @ _rotation(pose) @ forward_right_down


def _rotation(pose: Pose) -> Floats:
    return rotation(from_angles(pose.yaw_deg, pose.pitch_deg, pose.roll_deg))


def _plane(pose: Pose) -> LocalPlane:
    ground = 0.0 if pose.altitude_m is None else pose.altitude_m - pose.height_m
    return LocalPlane(pose.latitude, pose.longitude, ground)
