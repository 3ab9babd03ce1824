"""Checks of zones and lines, in fractions of the frame or in degrees on the ground."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

Point = tuple[float, float]

#: Less than a pixel of an 8K frame; anything smaller is a mistake.
SMALLEST_AREA = 1e-8
SMALLEST_LENGTH = 1e-4
#: On the ground: no position is good enough for less, and what is wider than this no drone surveys.
SMALLEST_GROUND_M = 1.0
LARGEST_GROUND_M = 100_000.0

_METRES_PER_DEGREE = 111_195.0  # of a great circle


def polygon_area(points: Sequence[Point]) -> float:
    """Area of a simple polygon in the square of its points' unit, whatever its direction."""
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in _edges(points))) / 2


def crosses_itself(points: Sequence[Point]) -> bool:
    """Whether two edges that are not neighbours cross: the sign of points written in the wrong order."""
    edges = list(_edges(points))
    last = len(edges) - 1
    return any(
        _cross(*edges[i], *edges[j])
        for i, j in itertools.combinations(range(len(edges)), 2)
        if j != i + 1 and (i, j) != (0, last)
    )


def line_length(points: Sequence[Point]) -> float:
    """Distance between the two points of a line, in their unit."""
    (x1, y1), (x2, y2) = points
    return float(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)


def metres(places: Sequence[Point]) -> tuple[Point, ...]:
    """Latitudes and longitudes in degrees -> metres (east, north) of the first, right to a percent or so."""
    (latitude, longitude), narrow = places[0], math.cos(math.radians(places[0][0]))
    return tuple(
        (
            ((lon - longitude + 180) % 360 - 180) * narrow * _METRES_PER_DEGREE,  # across the date line, too
            (lat - latitude) * _METRES_PER_DEGREE,
        )
        for lat, lon in places
    )


def width(points: Sequence[Point]) -> float:
    """The larger side of the rectangle around the points, in their unit."""
    return max(max(x) - min(x) for x in ([p[0] for p in points], [p[1] for p in points]))


def _edges(points: Sequence[Point]) -> zip[tuple[Point, Point]]:
    return zip(points, [*points[1:], points[0]], strict=True)


def _side(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0
