"""Places on the ground, as arrays that stand beside a frame's places."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class GroundPoints:
    """N places on the ground; all NaN where a pixel shows none (it looks at the sky, or too far away).

    latitude, longitude  (N,) float64, degrees, WGS 84
    h_acc_m              (N,) float64, radius in metres that holds the true place with 95% probability
    """

    latitude: _Floats
    longitude: _Floats
    h_acc_m: _Floats

    def __iter__(self) -> Iterator[tuple[float, float, float] | None]:
        """Longitude, latitude and h_acc_m of each place, as messages have them; None where there is none."""
        rows = zip(self.longitude.tolist(), self.latitude.tolist(), self.h_acc_m.tolist(), strict=True)
        return (None if any(map(math.isnan, row)) else row for row in rows)
