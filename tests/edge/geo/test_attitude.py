"""Quaternions against scipy's rotations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from edge.geo.attitude import angle_between, from_angles, multiply, rotation, slerp, to_angles

ANGLES = st.tuples(st.floats(-360, 360), st.floats(-90, 90), st.floats(-180, 180))


def reference(angles: tuple[float, float, float]) -> Rotation:
    return Rotation.from_euler("ZYX", angles, degrees=True)


@given(ANGLES)
def test_angles_to_a_rotation_and_back(angles: tuple[float, float, float]) -> None:
    attitude = from_angles(*angles)
    np.testing.assert_allclose(rotation(attitude), reference(angles).as_matrix(), atol=1e-12)
    yaw, pitch, roll = to_angles(attitude)
    assert 0 <= yaw <= 360
    np.testing.assert_allclose(rotation(from_angles(yaw, pitch, roll)), rotation(attitude), atol=2e-5)


@pytest.mark.parametrize("angle", [math.nan, math.inf, -math.inf])
def test_what_is_no_angle_makes_no_attitude(angle: float) -> None:
    for angles in ((angle, 0.0, 0.0), (0.0, angle, 0.0), (0.0, 0.0, angle)):
        assert all(map(math.isnan, from_angles(*angles)))


@given(ANGLES, ANGLES)
def test_one_upon_another(outer: tuple[float, float, float], inner: tuple[float, float, float]) -> None:
    both = multiply(from_angles(*outer), from_angles(*inner))
    np.testing.assert_allclose(rotation(both), (reference(outer) * reference(inner)).as_matrix(), atol=1e-12)


@given(ANGLES, ANGLES, st.floats(0, 1))
def test_on_the_way_from_one_to_the_other(
    start: tuple[float, float, float], end: tuple[float, float, float], share: float
) -> None:
    first, last = from_angles(*start), from_angles(*end)
    apart = (reference(start).inv() * reference(end)).magnitude()
    assert angle_between(first, last) == pytest.approx(np.degrees(apart), abs=1e-4)
    if apart < np.pi - 1e-3:  # half a turn has two shortest ways
        theirs = Slerp([0, 1], Rotation.concatenate([reference(start), reference(end)]))(share)
        np.testing.assert_allclose(rotation(slerp(first, last, share)), theirs.as_matrix(), atol=1e-6)


def test_north_is_crossed_the_short_way_and_straight_down_is_no_trouble() -> None:
    half = slerp(from_angles(350, -90, 0), from_angles(20, -90, 0), 0.5)
    assert to_angles(half) == (pytest.approx(5.0), -90.0, 0.0)
