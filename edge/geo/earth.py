"""WGS 84: degrees on the ellipsoid and metres around a place, in float64, exact to a millimetre.

Not the metres-per-degree shortcut: a kilometre away that is off by decimetres at high latitudes, and wrong at
the date line.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

EQUATOR_M = 6378137.0
FLATTENING = 1 / 298.257223563
POLE_M = EQUATOR_M * (1 - FLATTENING)
_E2 = FLATTENING * (2 - FLATTENING)
_E2_SECOND = _E2 / (1 - _E2)


def to_ecef(latitude: Floats | float, longitude: Floats | float, altitude_m: float = 0.0) -> Floats:
    """(..., 3) metres from the earth's centre; degrees and a height above the ellipsoid in."""
    lat, lon = np.radians(latitude), np.radians(longitude)
    normal = EQUATOR_M / np.sqrt(1 - _E2 * np.sin(lat) ** 2)
    level = (normal + altitude_m) * np.cos(lat)
    up = (normal * (1 - _E2) + altitude_m) * np.sin(lat)
    return np.stack([level * np.cos(lon), level * np.sin(lon), up], axis=-1)


def from_ecef(points: Floats) -> tuple[Floats, Floats]:
    """Latitude and longitude (-180 to 180) in degrees of (..., 3) points near the ground.

    Bowring's formula (Survey Review 1976), whose error near the ground is far below a millimetre.
    """
    x, y, z = np.moveaxis(points, -1, 0)
    level = np.hypot(x, y)
    reduced = np.arctan2(z * EQUATOR_M, level * POLE_M)
    latitude = np.arctan2(
        z + _E2_SECOND * POLE_M * np.sin(reduced) ** 3, level - _E2 * EQUATOR_M * np.cos(reduced) ** 3
    )
    return np.degrees(latitude), np.degrees(np.arctan2(y, x))


class LocalPlane:
    """The plane that touches the ellipsoid's parallel at `altitude_m` in one place: metres north and east."""

    def __init__(self, latitude: float, longitude: float, altitude_m: float = 0.0) -> None:
        self._altitude_m = altitude_m
        self._origin = to_ecef(latitude, longitude, altitude_m)
        lat, lon = np.radians(latitude), np.radians(longitude)
        north = [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
        self._axes = np.array([north, [-np.sin(lon), np.cos(lon), 0.0]])  # rows: north, east

    def to_degrees(self, north_east: Floats) -> tuple[Floats, Floats]:
        """Latitude and longitude of (..., 2) places on the plane."""
        return from_ecef(self._origin + north_east @ self._axes)

    def from_degrees(self, latitude: Floats | float, longitude: Floats | float) -> Floats:
        """(..., 2) metres north and east of places at the plane's altitude."""
        points: Floats = (to_ecef(latitude, longitude, self._altitude_m) - self._origin) @ self._axes.T
        return points
