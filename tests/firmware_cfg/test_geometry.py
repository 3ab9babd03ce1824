"""Checks of zones and lines."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_cfg.geometry import Point, crosses_itself, line_length, polygon_area


def star_polygon(radii: list[float], turn: float) -> list[Point]:
    """Simple by construction: its points go once around the middle."""
    angles = [turn + 2 * math.pi * n / len(radii) for n in range(len(radii))]
    return [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


star_polygons = st.builds(
    star_polygon, st.lists(st.floats(0.05, 0.5), min_size=3, max_size=20), st.floats(0, 2 * math.pi)
)


@given(star_polygons)
def test_polygons_around_a_middle_do_not_cross_themselves(points: list[Point]) -> None:
    assert not crosses_itself(points)
    assert not crosses_itself(points[::-1])


@given(star_polygons, st.integers(0, 19))
def test_area_depends_on_neither_start_nor_direction(points: list[Point], start: int) -> None:
    start %= len(points)
    turned = points[start:] + points[:start]
    assert polygon_area(turned) == pytest.approx(polygon_area(points))
    assert polygon_area(points[::-1]) == pytest.approx(polygon_area(points))


def test_area_of_a_rectangle() -> None:
    assert polygon_area([(0.1, 0.1), (0.5, 0.1), (0.5, 0.3), (0.1, 0.3)]) == pytest.approx(0.08)


def test_a_bow_tie_crosses_itself() -> None:
    assert crosses_itself([(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)])


def test_length_of_a_line() -> None:
    assert line_length([(0.1, 0.1), (0.4, 0.5)]) == pytest.approx(0.5)
