"""The virtual flight sees real ground only, and its truth is what a count over all frames gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.demo.flight import Flight, FlightPlan, Truth
from edge.demo.orthophoto import Orthophoto
from edge.geo.locate import Locator
from firmware_cfg.errors import SourceError


def synthetic_ground(width: int, height: int, boxes: list[list[float]]) -> Orthophoto:
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([columns % 256, rows % 256, columns // 256 * 16 + rows // 256], axis=2)
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Orthophoto("ground", pixels.astype(np.uint8), corners, metres_per_pixel=0.1)


@settings(max_examples=60)
@given(
    ground=st.tuples(st.integers(40, 300), st.integers(40, 300)),
    frame=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    speed=st.floats(0.5, 40.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_frame_lies_on_the_ground_and_truth_is_the_union_of_the_frames(
    ground: tuple[int, int], frame: tuple[int, int], speed: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, [*ground, *ground], size=(50, 4))
    photo = synthetic_ground(*ground, [list(np.sort(row.reshape(2, 2), axis=0).ravel()) for row in corners])
    flight = Flight(photo, FlightPlan(0.1, *frame, speed=speed, fps=10))
    truth = Truth(flight)
    seen: set[int] = set()
    centres = (photo.boxes[:, :2] + photo.boxes[:, 2:]) / 2
    for view in flight:
        assert 0 <= view.left <= ground[0] - frame[0]
        assert 0 <= view.top <= ground[1] - frame[1]
        inside = {
            index
            for index, (x, y) in enumerate(centres)
            if view.left <= x < view.left + frame[0] and view.top <= y < view.top + frame[1]
        }
        truth.fly_over(view.number)
        seen |= inside
        assert truth.in_frame == len(inside)
        assert truth.unique == len(seen)


def test_what_a_frame_shows_is_located_where_it_truly_is() -> None:
    photo = synthetic_ground(400, 300, [[100, 100, 110, 110], [250, 180, 270, 190], [30, 260, 40, 280]])
    flight = Flight(photo, FlightPlan(0.05, 320, 200, speed=3, fps=2))
    centres = (flight.ground.boxes[:, :2] + flight.ground.boxes[:, 2:]) / 2
    latitude, longitude = flight.on_earth(centres)
    locator, seen = Locator(flight.camera), np.zeros(3, dtype=bool)
    for view in flight:
        inside = flight.visible(view)
        pixels = centres[inside] - (view.left, view.top)
        found = locator.locate(pixels, flight.pose(view), (320, 200))
        np.testing.assert_allclose(found.latitude, latitude[inside], atol=1e-9)  # 0.1 mm
        np.testing.assert_allclose(found.longitude, longitude[inside], atol=1e-9)
        seen |= inside
    assert seen.any()
    # North is up, and the survey's corner is the photo's lower left.
    corner = flight.on_earth(np.array([[0.0, 600.0], [800.0, 0.0]]))
    assert (corner[0][0], corner[1][0]) == pytest.approx(photo.south_west)
    assert corner[0][1] > corner[0][0]
    assert corner[1][1] > corner[1][0]


def test_a_frame_is_the_ground_at_its_place() -> None:
    flight = Flight(synthetic_ground(100, 90, []), FlightPlan(0.1, 40, 20, speed=3, fps=5))
    view = flight.view(7)
    pixels = flight.pixels(view)
    assert pixels.shape == (20, 40, 3)
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels[0, 0], [view.left, view.top, 0])
    np.testing.assert_array_equal(pixels[-1, -1], [view.left + 39, view.top + 19, 0])


def test_lanes_lie_side_by_side_so_that_no_ground_is_flown_over_twice() -> None:
    flight = Flight(synthetic_ground(100, 90, []), FlightPlan(0.1, 40, 20, speed=3, fps=5))
    visited = [(view.left, view.top) for view in flight]
    assert visited[0] == (10, 0)  # two lanes of 40 are centred on 100
    assert {left for left, top in visited if 0 < top < 69} == {10, 50}
    steps = np.abs(np.diff(np.array(visited), axis=0)).sum(axis=1)
    assert steps.min() > 0
    assert steps.max() <= 0.6 / 0.1 + 1  # speed / fps in pixels, and rounding


def test_speed_and_distance_set_the_time_in_the_air() -> None:
    photo = synthetic_ground(40, 1020, [])
    flight = Flight(photo, FlightPlan(metres_per_pixel=0.1, width=40, height=20, speed=10, fps=10))
    assert flight.length == 101  # 100 m at 1 m a frame, both ends included
    assert flight.view(100).time_s == pytest.approx(10.0)
    with pytest.raises(IndexError):
        flight.view(101)


def test_a_coarser_distance_shrinks_ground_and_boxes_alike() -> None:
    photo = synthetic_ground(200, 100, [[20, 40, 60, 80]])
    coarse = photo.resampled(0.2)
    assert coarse.pixels.shape == (50, 100, 3)
    np.testing.assert_allclose(coarse.boxes, [[10, 20, 30, 40]])
    assert photo.resampled(0.1) is photo


def test_a_frame_larger_than_the_ground_is_refused_with_a_mend() -> None:
    with pytest.raises(SourceError, match=r"does not fit .*\(take a smaller gsd or frame\)"):
        Flight(synthetic_ground(100, 90, []), FlightPlan(0.1, 101, 20))


def test_options_are_read_from_the_query() -> None:
    assert FlightPlan.parse("") == FlightPlan()
    assert FlightPlan.parse("gsd=0.15&width=640&speed=5.5") == FlightPlan(0.15, 640, FlightPlan().height, 5.5)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("gds=1", "unknown option 'gds'"),
        ("gsd=", "gsd must be a number, got ''"),
        ("width=12.5", "width must be a number, got '12.5'"),
        ("fps=0", "fps must be above zero"),
        ("speed=-1", "speed must be above zero"),
        ("gsd=nan", "gsd must be above zero"),
        ("speed=inf", "speed must be above zero"),
    ],
)
def test_a_bad_option_is_named(query: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        FlightPlan.parse(query)
