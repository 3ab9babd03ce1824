"""The camera: pixels to rays and back, through a pinhole and the Brown-Conrady lens distortion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.geo.earth import Floats

if TYPE_CHECKING:
    from firmware_cfg.device.camera import Camera

_NEWTON_STEPS = 12
_PIXEL_TOLERANCE = 1e-9  # of the undistorted place, in focal lengths


@dataclass(frozen=True, slots=True)
class CameraModel:
    """A camera's inner geometry in shares of the picture's width, so that a scaled video needs no new one.

    focal_x, focal_y    focal lengths divided by the picture's width
    centre_x, centre_y  principal point from the picture's centre, divided by the picture's width
    distortion          k1, k2, p1, p2
    aspect              the picture's width divided by its height: a frame that is narrower is cut at its
                        sides, one that is wider above and below; 0: every frame is as wide as the picture
    """

    focal_x: float
    focal_y: float
    centre_x: float = 0.0
    centre_y: float = 0.0
    distortion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    aspect: float = 0.0

    @classmethod
    def from_hfov(cls, hfov_deg: float) -> CameraModel:
        """Square pixels, no distortion. Raises ValueError outside of 0 to 180 degrees, both excluded."""
        if not 0 < hfov_deg < 180:
            raise ValueError(f"a horizontal field of view is between 0 and 180 degrees, got {hfov_deg:g}")
        focal = 0.5 / math.tan(math.radians(hfov_deg) / 2)
        return cls(focal, focal)

    @classmethod
    def from_section(cls, section: Camera) -> CameraModel:
        """Of a device file's `camera`: a calibration is of pictures of its `size`, all else of the video."""
        lens = section.distortion
        distortion = (lens.k1, lens.k2, lens.p1, lens.p2)
        if (matrix := section.matrix) is not None:
            width, height = matrix.size
            return cls(
                matrix.fx / width,
                matrix.fy / width,
                (matrix.cx - width / 2) / width,
                (matrix.cy - height / 2) / width,
                distortion,
                aspect=width / height,
            )
        if section.focal_mm is not None and section.sensor_width_mm is not None:
            focal = section.focal_mm / section.sensor_width_mm
        elif section.hfov_deg is not None:
            focal = cls.from_hfov(section.hfov_deg).focal_x
        else:
            raise ValueError("a camera section says what its lens sees")  # its own validator has refused it
        return cls(focal, focal, distortion=distortion)

    def matrix(self, frame_size: tuple[int, int]) -> Floats:
        """(3, 3) intrinsic matrix for frames of (width, height); pixel (0, 0) is the corner, not a centre."""
        width, height = frame_size
        whole = max(width, height * self.aspect)
        cx, cy = width / 2 + whole * self.centre_x, height / 2 + whole * self.centre_y
        return np.array([[whole * self.focal_x, 0.0, cx], [0.0, whole * self.focal_y, cy], [0.0, 0.0, 1.0]])

    def rays(self, pixels: Floats, frame_size: tuple[int, int]) -> Floats:
        """(N, 3) rays (1, right, down) of (N, 2) pixels; NaN where no ray through the lens ends there."""
        inner = self.matrix(frame_size)
        seen = (np.asarray(pixels, dtype=np.float64) - inner[:2, 2]) / (inner[0, 0], inner[1, 1])
        straight = self._undistorted(seen) if any(self.distortion) else seen
        return np.concatenate([np.ones((len(straight), 1)), straight], axis=1)

    def pixels(self, rays: Floats, frame_size: tuple[int, int]) -> Floats:
        """(N, 2) pixels of (N, 3) rays (forward, right, down); NaN behind the camera or beyond the lens.

        A pixel may lie outside of the frame.
        """
        ahead = rays[:, :1] > 0
        straight = np.divide(rays[:, 1:], rays[:, :1], out=np.full((len(rays), 2), np.nan), where=ahead)
        if any(self.distortion):
            beyond = np.hypot(*straight.T) > self._widest()
            straight = np.where(beyond[:, None], np.nan, self._distorted(straight))
        inner = self.matrix(frame_size)
        placed: Floats = straight * (inner[0, 0], inner[1, 1]) + inner[:2, 2]
        return placed

    def _distorted(self, straight: Floats) -> Floats:
        k1, k2, p1, p2 = self.distortion
        x, y = straight.T
        square = x * x + y * y
        radial = 1 + square * (k1 + square * k2)
        return np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
                y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
            ],
            axis=1,
        )

    def _undistorted(self, seen: Floats) -> Floats:
        """Newton's method; the Jacobian is 2 x 2, so it is solved by hand."""
        k1, k2, p1, p2 = self.distortion
        straight = seen.copy()
        # A ray that does not converge runs away to infinity: it is told apart below, not by a warning.
        with np.errstate(all="ignore"):
            for _ in range(_NEWTON_STEPS):
                x, y = straight.T
                square = x * x + y * y
                radial, slope = 1 + square * (k1 + square * k2), 2 * k1 + 4 * k2 * square
                xx = radial + x * x * slope + 2 * p1 * y + 6 * p2 * x
                yy = radial + y * y * slope + 6 * p1 * y + 2 * p2 * x
                xy = x * y * slope + 2 * p1 * x + 2 * p2 * y
                off = self._distorted(straight) - seen
                size = xx * yy - xy * xy
                straight = straight - np.stack(
                    [(yy * off[:, 0] - xy * off[:, 1]) / size, (xx * off[:, 1] - xy * off[:, 0]) / size],
                    axis=1,
                )
            good = np.abs(self._distorted(straight) - seen).max(axis=1) < _PIXEL_TOLERANCE
            good &= np.hypot(*straight.T) <= self._widest()
        return np.where(good[:, None], straight, np.nan)

    def _widest(self) -> float:
        """Radius, in focal lengths, to which the lens is one to one: beyond it the polynomial folds back."""
        # Where r (1 + k1 r² + k2 r⁴) stops rising, 5 k2 r⁴ + 3 k1 r² + 1 = 0; written to divide by no k.
        k1, k2, _, _ = self.distortion
        square = 9 * k1 * k1 - 20 * k2
        steepest = math.sqrt(square) - 3 * k1 if square >= 0 else 0.0
        return math.sqrt(2 / steepest) if steepest > 1e-12 else math.inf
