"""Zones and lines, in the image or on the ground, each in the plane that it lies in.

In the image that plane is the frame's pixels. On the ground it is metres around the area's first point, east
and south, so that right of a line is the same side on both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.geo.earth import EQUATOR_M, LocalPlane, to_ecef
from edge.geo.ground import GroundPoints
from firmware_cfg.prompt_fields import GroundLine, GroundZone

_Floats: TypeAlias = NDArray[np.float64]
_Points: TypeAlias = tuple[tuple[float, float], ...]

_LINE_MARGIN = 0.003
"""Share of the frame's diagonal that a centre must be off a line before it counts as on one side of it."""
_BOX_MARGIN = 0.05
"""The same as a share of the box: a big box jitters more."""
_GROUND_MARGIN_M = 0.5
_H_ACC_MARGIN = 0.25
"""The same as a share of a position's accuracy: most of that error is common to neighbouring frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Where the tracked places of one frame are: boxes (N, 4) and the frame's size in pixels, the ground."""

    boxes: _Floats
    size: _Floats
    ground: GroundPoints | None

    @property
    def centres(self) -> _Floats:
        """(N, 2) pixels."""
        middle: _Floats = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        return middle

    @property
    def unplaced(self) -> int:
        """How many have no place on the ground."""
        return len(self.boxes) if self.ground is None else int(np.isnan(self.ground.latitude).sum())


class Area:
    """A zone or a line; `points` in fractions of the frame, or latitude and longitude."""

    def __init__(self, area: _Points | GroundZone | GroundLine) -> None:
        self.on_ground = isinstance(area, (GroundZone, GroundLine))
        points = np.array(area.ground if isinstance(area, (GroundZone, GroundLine)) else area, np.float64)
        self._plane = LocalPlane(*points[0].tolist()) if self.on_ground else None
        self._earth = to_ecef(*points.T) if self.on_ground else None
        self._points = _south_east(self._plane, *points.T) if self._plane is not None else points

    def outline(self, at: Positions) -> _Floats:
        """(K, 2) its own points, in its plane."""
        outline: _Floats = self._points if self.on_ground else self._points * at.size
        return outline

    def places(self, at: Positions) -> _Floats:
        """(N, 2) the tracked places in its plane; NaN where nobody knows."""
        if self._plane is None:
            return at.centres
        if at.ground is None:
            return np.full((len(at.boxes), 2), np.nan)
        return _south_east(self._plane, at.ground.latitude, at.ground.longitude)

    def distance_km(self, ground: GroundPoints) -> float:
        """Along the earth, from its nearest point to the nearest place; NaN in the image or without any."""
        known = ~np.isnan(ground.latitude)
        if self._earth is None or not known.any():
            return math.nan
        places = to_ecef(ground.latitude[known], ground.longitude[known])
        chord = float(np.linalg.norm(places[:, None] - self._earth, axis=-1).min())
        return 2 * EQUATOR_M * math.asin(min(1.0, chord / (2 * EQUATOR_M))) / 1000

    def margin(self, at: Positions) -> _Floats:
        """(N,) how far a place must be off a line, so that jitter does not carry it over, in its plane."""
        if not self.on_ground:
            side = np.sqrt((at.boxes[:, 2:] - at.boxes[:, :2]).prod(axis=1))
            margin: _Floats = np.maximum(_LINE_MARGIN * float(np.hypot(*at.size)), _BOX_MARGIN * side)
            return margin
        accuracy = np.full(len(at.boxes), np.nan) if at.ground is None else at.ground.h_acc_m
        margin = np.maximum(_GROUND_MARGIN_M, _H_ACC_MARGIN * accuracy)
        return margin


def off_line(points: _Floats, line: _Floats) -> _Floats:
    """(N,) distance of points (N, 2) from a line (2, 2), above zero right of it where y points down."""
    along = line[1] - line[0]
    beside = points - line[0]
    distance: _Floats = (along[0] * beside[:, 1] - along[1] * beside[:, 0]) / float(np.hypot(*along))
    return distance


def meets(a: _Floats, b: _Floats, line: _Floats) -> bool:
    """Whether the way from a to b, which lie on both sides of the line, passes between its ends."""
    step, along = b - a, line[1] - line[0]
    across = along[0] * step[1] - along[1] * step[0]
    behind = along[0] * (line[0, 1] - a[1]) - along[1] * (line[0, 0] - a[0])
    share = (a + step * (behind / across) - line[0]) @ along / (along @ along)
    return bool(0.0 <= share <= 1.0)


def inside_polygon(points: _Floats, polygon: _Floats) -> NDArray[np.bool_]:
    """Which of the points (N, 2) lie inside the polygon (K, 2), by the even-odd rule: (N,); NaN is out."""
    x, y = points[:, :1], points[:, 1:]
    x1, y1 = polygon.T
    x2, y2 = np.roll(polygon, -1, axis=0).T
    spans = (y1 > y) != (y2 > y)
    # A level edge spans no y, so its division by zero is never looked at.
    rise = np.where(y2 == y1, 1.0, y2 - y1)
    crossed: NDArray[np.bool_] = (spans & (x < x1 + (y - y1) * (x2 - x1) / rise)).sum(axis=1) % 2 == 1
    return crossed


def _south_east(plane: LocalPlane, latitude: _Floats, longitude: _Floats) -> _Floats:
    """(N, 2) metres east and south."""
    return plane.from_degrees(latitude, longitude)[:, ::-1] * [1.0, -1.0]
