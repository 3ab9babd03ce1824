"""WGS 84 against pymap3d, an independent implementation."""

from __future__ import annotations

import numpy as np
import pymap3d
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.geo.earth import LocalPlane, from_ecef, to_ecef

LATITUDES = st.floats(-89.9, 89.9)
LONGITUDES = st.floats(-180, 180)


@given(latitude=LATITUDES, longitude=LONGITUDES, altitude_m=st.floats(-400, 9000))
def test_a_place_in_metres_from_the_earths_centre(
    latitude: float, longitude: float, altitude_m: float
) -> None:
    ours = to_ecef(latitude, longitude, altitude_m)
    np.testing.assert_allclose(ours, pymap3d.geodetic2ecef(latitude, longitude, altitude_m), atol=1e-6)
    back = from_ecef(ours)
    assert float(back[0]) == pytest.approx(latitude, abs=1e-9)
    # Both ends of the date line are one place.
    assert abs((float(back[1]) - longitude + 180) % 360 - 180) < 1e-8 / np.cos(np.radians(latitude))


@given(
    latitude=LATITUDES,
    longitude=LONGITUDES,
    altitude_m=st.floats(-400, 5000),
    north=st.floats(-3000, 3000),
    east=st.floats(-3000, 3000),
)
def test_metres_on_the_plane_and_back(
    latitude: float, longitude: float, altitude_m: float, north: float, east: float
) -> None:
    plane = LocalPlane(latitude, longitude, altitude_m)
    there = plane.to_degrees(np.array([[north, east]]))
    theirs = pymap3d.enu2geodetic(east, north, 0.0, latitude, longitude, altitude_m)
    assert there[0][0] == pytest.approx(theirs[0], abs=1e-9)
    assert abs((there[1][0] - theirs[1] + 180) % 360 - 180) < 1e-8 / np.cos(np.radians(theirs[0]))
    back = plane.from_degrees(*there)
    # The plane lies a little above the curved ground out there, and a degree is the ground's.
    np.testing.assert_allclose(back[0], [north, east], atol=2e-3)
