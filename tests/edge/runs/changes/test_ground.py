"""Large flights: as many votes as pairs of things, and frames over many kilometres."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.geo.camera import CameraModel
from edge.geo.earth import LocalPlane
from edge.geo.locate import Locator
from edge.geo.pose import Pose, PoseAccuracy
from edge.runs.changes import area
from edge.runs.changes.by_ground import most_agreed, on_ground
from edge.runs.changes.things import Side
from edge.runs.reader import Run
from edge.runs.writer import RunWriter

PLANE = LocalPlane(46.5, 7.25)
CAMERA = CameraModel.from_hfov(73.7)
WIDE, HIGH = 48.0, 24.0
"""Metres that a frame of 128 by 64 pixels shows from `HEIGHT`."""
HEIGHT = WIDE * CAMERA.focal_x


def pairs(count: int, shift: tuple[float, float], spread: float, seed: int = 0) -> np.ndarray:
    """(N, 2) votes of as many cars on a hectare, seen twice: every pair within 21 m of one another."""
    rng = np.random.default_rng(seed)
    cars = rng.uniform(0, 100, (count, 2))
    apart = (cars + shift + rng.normal(0, spread, cars.shape))[None] - cars[:, None]
    return apart[np.linalg.norm(apart, axis=2) <= 21]


def test_the_votes_of_many_things_fit_into_memory_and_agree():
    votes = pairs(300, (5.0, -3.0), 0.3)
    assert len(votes) > 8000
    tracemalloc.start()
    try:
        agreed = most_agreed(votes, 2.0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20e6  # all pairs of them would be a gigabyte
    np.testing.assert_allclose(np.median(agreed, axis=0), (5.0, -3.0), atol=0.3)


@example(111, 0.9375)  # the best place is not among the 16 fullest
@given(st.integers(0, 1000), st.floats(0.5, 5))
def test_few_votes_are_counted_as_all_pairs_of_them_say(seed, reach):
    votes = np.random.default_rng(seed).normal(0, 2, (30, 2))
    expected = (np.linalg.norm(votes[:, None] - votes, axis=2) <= reach).sum(axis=1).max()
    assert len(most_agreed(votes, reach)) == expected


@pytest.mark.parametrize("most_squares", [area.MOST_SQUARES, 2e4])
def test_the_area_of_a_long_corridor_is_whole(runs, about, make_result, monkeypatch, most_squares):
    """Twelve kilometres to the north east, frames that do not touch; the second flight saw half of them."""
    monkeypatch.setattr(area, "MOST_SQUARES", most_squares)
    along = np.arange(0, 12_000, 100) / np.sqrt(2)
    accuracy = PoseAccuracy(1.0, 1.0, 1.0, 0.5)
    sides = []
    for places in (along, along[60:]):
        with RunWriter.open(runs, about, locate=Locator(CAMERA).locate, wait=True) as writer:
            for number, metres in enumerate(places):
                latitude, longitude = map(float, PLANE.to_degrees(np.array([metres, metres])))
                pose = Pose(latitude, longitude, HEIGHT, 0.0, -90.0, 0.0, accuracy)
                writer.add(make_result(number, pose=pose))
        with Run(writer.path) as run:
            sides.append(on_ground(Side(run), PLANE, {"red"}))
    found = area.areas(*sides, np.zeros(2))
    expected = np.array([120, 60, 60]) * WIDE * HIGH
    np.testing.assert_allclose(found, expected, rtol=0.02 if most_squares > 1e6 else 0.1)
