"""Where on Earth a cube's pixels lie."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Georeference:
    """An affine map from pixels to a coordinate system; pixel (0, 0) is the corner of the first one.

    crs        the coordinate system: "EPSG:32610", or WKT
    transform  (a, b, c, d, e, f): x = a * column + b * row + c, y = d * column + e * row + f, in the system's
               unit; as rasterio's Affine takes them
    metres     length of the system's unit; 0 where it is an angle
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    metres: float = 1.0

    def at(self, column: float, row: float) -> tuple[float, float]:
        """(x, y) of a place in the picture, in the system's unit."""
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f

    @property
    def pixel_area_m2(self) -> float | None:
        """Square metres that one pixel covers; None where the coordinate system counts in degrees."""
        a, b, _, d, e, _ = self.transform
        return abs(a * e - b * d) * self.metres**2 if self.metres else None

    @property
    def pixel_size_m(self) -> float | None:
        """Side of a square pixel of the same area, metres; None where the system counts in degrees."""
        return None if self.pixel_area_m2 is None else math.sqrt(self.pixel_area_m2)
