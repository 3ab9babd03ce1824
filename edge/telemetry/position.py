"""One position of the drone, whether it can be true, and the way from one to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.geo.earth import LocalPlane

MAX_HEIGHT_M = 10_000.0
_JITTER_M = 10.0
"""A position may jump this far at once, as a receiver's does when its satellites change."""
_ACCELERATION = 3.0
"""m/s² that going on as before does not know of: a multicopter in brisk flight, one standard deviation."""
SHORTEST_S = 0.02
"""Two samples of nearly one moment say nothing of the speed."""


@dataclass(frozen=True, slots=True)
class Position:
    """Degrees, WGS 84; metres above the take-off and above mean sea level; the receiver's own accuracy."""

    latitude: float
    longitude: float
    relative_m: float | None
    altitude_m: float | None
    h_acc_m: float = 0.0

    def implausible(self) -> str | None:
        """Why this cannot be a drone's position; None when it can."""
        heights = [height for height in (self.relative_m, self.altitude_m) if height is not None]
        if not all(map(math.isfinite, (self.latitude, self.longitude, self.h_acc_m, *heights))):
            return "not a number"
        if self.latitude == 0 and self.longitude == 0:  # what autopilots send before the first fix
            return "zero position"
        if abs(self.latitude) > 90 or abs(self.longitude) > 180 or self.h_acc_m < 0:
            return "out of range"
        return "out of range" if any(abs(height) > MAX_HEIGHT_M for height in heights) else None

    def metres_to(self, other: Position) -> float:
        """Along the ground; of far places only that they are far."""
        way = LocalPlane(self.latitude, self.longitude).from_degrees(other.latitude, other.longitude)
        degrees = math.hypot(self.latitude - other.latitude, self.longitude - other.longitude)
        # The plane shows the other side of the earth next to its origin; the date line is crossed in steps.
        return float(math.hypot(*way)) if degrees < 1 or degrees > 359 else math.inf

    def reaches(self, other: Position, metres: float) -> bool:
        """Whether a drone that flies `metres` can have gone from here to there, for all receivers know."""
        return self.metres_to(other) <= metres + max(_JITTER_M, self.h_acc_m, other.h_acc_m)

    def towards(self, other: Position, share: float) -> Position:
        """The place at a share of the way: 0 is here, 1 is there, and more lies beyond."""
        plane = LocalPlane(self.latitude, self.longitude)
        way = plane.from_degrees(other.latitude, other.longitude)
        latitude, longitude = plane.to_degrees(way * share)
        return Position(
            float(latitude),
            float(longitude),
            _between(self.relative_m, other.relative_m, share),
            _between(self.altitude_m, other.altitude_m, share),
            max(self.h_acc_m, other.h_acc_m),
        )


def _between(start: float | None, end: float | None, share: float) -> float | None:
    return None if start is None or end is None else start + (end - start) * share


@dataclass(frozen=True, slots=True)
class Place:
    """Where the drone was at a moment, and how sure that is.

    speed_mps  along the ground
    growth     the samples' own standard deviation counts so many times here
    drift_m    standard deviation, along each axis, of what the drone may have done since the newest sample
    """

    position: Position
    speed_mps: float
    growth: float = 1.0
    drift_m: float = 0.0


def go_on(
    before: tuple[float, Position], newest: tuple[float, Position], time_s: float, max_speed_mps: float
) -> Place:
    """The place some time after the newest sample: on as from an earlier one to it, but not faster than that.

    The growth is that of two samples whose errors have nothing to do with each other. The drift grows from
    the middle between them, where the drone had that velocity.
    """
    span_s, ahead_s = newest[0] - before[0], time_s - newest[0]
    if span_s < SHORTEST_S:
        return Place(newest[1], 0.0, drift_m=max_speed_mps * ahead_s)
    speed, steps = before[1].metres_to(newest[1]) / span_s, ahead_s / span_s
    slowed = min(1.0, max_speed_mps / speed) if speed > 0 else 1.0
    return Place(
        before[1].towards(newest[1], 1 + steps * slowed),
        min(speed, max_speed_mps),
        math.hypot(1 + steps, steps),
        _ACCELERATION * ahead_s * (ahead_s + span_s) / 2,
    )
