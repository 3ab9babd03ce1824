"""What telemetry says between its samples, and what is refused: gaps, jumps, zeros, nonsense."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.geo.attitude import from_angles
from edge.telemetry.boot_clock import BootClock
from edge.telemetry.position import Position
from edge.telemetry.record import FlightRecord
from edge.telemetry.series import Series
from firmware_cfg.device import Camera

LEVEL = from_angles(90, 0, 0)
NORTH_10_M = 10 / 111_175  # degrees of latitude at 47 degrees north


def at(latitude: float = 47.0, height_m: float | None = 50.0, **other: Any) -> Position:
    return Position(latitude, other.pop("longitude", 8.0), height_m, other.pop("altitude_m", 450.0), **other)


@pytest.fixture
def flight(new_record: Any) -> FlightRecord:
    """Two seconds to the north at 10 m/s, climbing, turning from 350 to 10 degrees in the second of them."""
    record: FlightRecord = new_record()
    for step in range(21):
        time_s = 100 + step / 10
        record.add_position(time_s, at(47 + NORTH_10_M * step / 10, 50 + step))
        record.add_body(time_s, from_angles((350 + max(0, step - 10) * 2) % 360, 0, 0))
    return record


def test_between_two_samples_everything_goes_evenly(flight: FlightRecord) -> None:
    pose = flight.pose_at(101.55)
    assert pose is not None
    assert pose.latitude == pytest.approx(47 + NORTH_10_M * 1.55, abs=1e-8)
    assert pose.height_m == pytest.approx(65.5)
    assert (pose.yaw_deg, pose.pitch_deg) == (pytest.approx(1.0), -90.0)
    assert pose.altitude_m == 450
    # 10 m/s and 20 degrees a second, for the 0.1 s by which the clocks may differ.
    assert pose.accuracy.horizontal_m == pytest.approx(math.hypot(1, 1), abs=1e-3)
    assert pose.accuracy.heading_deg == pytest.approx(math.hypot(3, 2), abs=1e-3)
    assert pose.accuracy.tilt_deg == pytest.approx(math.hypot(1, 2), abs=1e-3)
    assert not flight.refused


def test_a_moment_ahead_is_reached_less_surely_and_not_far(flight: FlightRecord) -> None:
    pose = flight.pose_at(102.4)
    assert pose is not None
    assert pose.latitude == pytest.approx(47 + NORTH_10_M * 2.4, abs=1e-8)
    assert pose.accuracy.horizontal_m > 1.43
    assert pose.accuracy.heading_deg > 8
    assert flight.pose_at(103.9) is not None
    assert flight.pose_at(104.1) is None
    assert flight.pose_at(99.9) is None
    assert flight.refused == Counter({"telemetry is silent": 1, "no position": 1})


@pytest.mark.parametrize("ahead_s", [0.1, 0.3, 0.45])
def test_a_receivers_jump_is_not_carried_on_as_speed(new_record: Any, ahead_s: float) -> None:
    record = new_record()
    for step in range(16):
        record.add_position(step / 10, at(47 + (0.95 * NORTH_10_M if step == 10 else 0.0)))
        record.add_body(step / 10, LEVEL)
        if step == 10:
            jumped = record.pose_at(1.0 + ahead_s)
    assert not record.refused  # 9.5 m is what a receiver may jump
    assert (jumped.latitude - 47) / NORTH_10_M * 10 == pytest.approx(9.5 * (1 + ahead_s), abs=0.01)


def test_nobody_is_carried_on_faster_than_a_drone_flies(new_record: Any) -> None:
    record = new_record(max_speed_mps=5)
    record.add_body(0.3, LEVEL)
    record.add_position(0.0, at())
    record.add_position(0.1, at(47 + 0.95 * NORTH_10_M))  # by 95 m/s
    pose = record.pose_at(0.3)
    assert (pose.latitude - 47) / NORTH_10_M * 10 == pytest.approx(9.5 + 5 * 0.2, abs=0.01)


def test_how_far_going_on_may_be_off_is_told(new_record: Any) -> None:
    record = new_record()
    for step in range(11):
        record.add_position(step / 10, at())
    record.add_body(1.5, LEVEL)
    sure = record.pose_at(1.5).accuracy
    # Half of the second that tells the speed: the errors of its ends count 1.5 and 0.5 times. And 3 m/s² for
    # that half second, whose speed was told for half a second before it began.
    drift_m = 3 * 0.5**2 / 2 + 3 * 0.5 * 0.5
    assert sure.horizontal_m == pytest.approx(math.hypot(1.5, 0.5, drift_m))
    assert sure.height_m == pytest.approx(math.hypot(2 * math.hypot(1.5, 0.5), drift_m))


def test_one_position_may_have_gone_anywhere(new_record: Any) -> None:
    record = new_record(max_speed_mps=20)
    record.add_position(1.0, at())
    record.add_body(1.2, LEVEL)
    pose = record.pose_at(1.2)
    assert pose.latitude == 47
    assert pose.accuracy.horizontal_m == pytest.approx(math.hypot(1, 20 * 0.2))


def test_nothing_is_said_inside_a_gap(flight: FlightRecord) -> None:
    flight.add_position(104.1, at(47 + NORTH_10_M * 4))
    flight.add_body(104.1, LEVEL)
    assert flight.pose_at(103.0) is None
    assert flight.refused == Counter({"gap": 1})
    assert flight.pose_at(104.1) is not None


def test_a_position_a_second_is_enough(new_record: Any) -> None:
    record = new_record()
    for second in range(5):
        record.add_position(second + (0.1 if second % 2 else 0.0), at())  # none comes quite in time
        for frame in range(30):
            record.add_body(second + frame / 30, LEVEL)
            assert record.pose_at(second + frame / 30) is not None
    assert record.pose_at(2.5) is not None  # and in a recording


@pytest.mark.parametrize(
    ("position", "cause"),
    [
        (at(math.nan), "not a number"),
        (at(47.0, math.inf), "not a number"),
        (at(0.0, longitude=0.0), "zero position"),
        (at(91.0), "out of range"),
        (at(longitude=180.5), "out of range"),
        (at(height_m=20_000), "out of range"),
        (at(h_acc_m=-1.0), "out of range"),
        (at(47.1), "jump"),
        (at(-47.0, longitude=-172.0), "jump"),  # where the plane through the drone would have it near
    ],
)
def test_a_position_that_cannot_be_true_changes_nothing(
    flight: FlightRecord, position: Position, cause: str
) -> None:
    before = flight.pose_at(102.1)
    flight.add_position(102.1, position)
    assert flight.refused == Counter({cause: 1})
    assert flight.pose_at(102.1) == before


def test_a_drone_that_stays_where_it_jumped_is_believed(flight: FlightRecord) -> None:
    for step in range(1, 6):
        assert flight.pose_at(102 + step / 10) is not None
        flight.add_position(102 + step / 10, at(48.0))
        flight.add_body(102 + step / 10, LEVEL)
    assert flight.refused == Counter({"jump": 4})
    pose = flight.pose_at(102.5)
    assert pose is not None
    assert pose.latitude == 48.0


def test_positions_that_jump_about_are_never_believed(flight: FlightRecord) -> None:
    for step in range(1, 20):
        flight.add_position(102 + step / 100, at(48.0 + step % 2))
    assert flight.refused == Counter({"jump": 19})


@pytest.mark.parametrize(
    ("height_m", "ground_msl_m", "altitude_m", "cause"),
    [
        (0.0, None, 450.0, "not above the ground"),
        (-3.0, None, 450.0, "not above the ground"),
        (50.0, 450.0, 450.0, "not above the ground"),
        (None, None, 450.0, "no height"),
        (50.0, 400.0, None, "no height"),  # take-off's height is not what was asked for
    ],
)
def test_without_a_height_above_ground_there_is_no_pose(
    new_record: Any, height_m: float | None, ground_msl_m: float | None, altitude_m: float | None, cause: str
) -> None:
    record = new_record(ground_msl_m=ground_msl_m)
    record.add_position(1.0, at(height_m=height_m, altitude_m=altitude_m))
    record.add_body(1.0, LEVEL)
    assert record.pose_at(1.0) is None
    assert record.refused == Counter({cause: 1})


def test_height_above_a_stated_ground(new_record: Any) -> None:
    record = new_record(ground_msl_m=420.0)
    record.add_position(1.0, at())
    record.add_body(1.0, LEVEL)
    assert record.pose_at(1.0).height_m == 30.0


@pytest.mark.parametrize(
    ("camera", "body", "expected"),
    [
        (Camera(hfov_deg=70, gimbal="fixed", pitch_deg=-60), (90, 5, 0), (90, -55, 0)),
        (Camera(hfov_deg=70, gimbal="fixed", yaw_deg=30, pitch_deg=0), (350, 0, 0), (20, 0, 0)),
        (Camera(hfov_deg=70, gimbal="stabilised", yaw_deg=30, pitch_deg=-45), (350, 9, 7), (20, -45, 0)),
    ],
)
def test_the_camera_hangs_on_the_drone(
    new_record: Any, camera: Camera, body: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    record = new_record(camera)
    record.add_position(1.0, at())
    record.add_body(1.0, from_angles(*body))
    pose = record.pose_at(1.0)
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx(expected, abs=1e-6)


def test_a_gimbal_that_tells_nothing_is_missed(new_record: Any) -> None:
    record = new_record(Camera(hfov_deg=70))
    record.add_position(1.0, at())
    record.add_body(1.0, LEVEL)
    assert record.pose_at(1.0) is None
    assert record.refused == Counter({"no attitude": 1})
    assert "no attitude of the camera" in record.lacks()
    record.add_camera(1.0, from_angles(10, -80, 0))
    assert record.pose_at(1.0).pitch_deg == pytest.approx(-80)
    assert record.lacks() is None


@pytest.mark.parametrize(
    ("attitude", "cause"),
    [((math.nan, 0, 0, 0), "not a number"), ((0, 0, 0, 0), "out of range"), ((2, 0, 0, 0), "out of range")],
)
def test_what_is_no_attitude_is_refused(new_record: Any, attitude: Any, cause: str) -> None:
    record = new_record()
    record.add_body(1.0, attitude)
    assert record.refused == Counter({cause: 1})
    assert record.body_at(1.0) is None


def test_the_receivers_own_accuracy_counts_where_it_is_worse(new_record: Any) -> None:
    record = new_record()
    record.add_body(1.0, LEVEL)
    record.add_position(1.0, at(h_acc_m=7.0))
    assert record.pose_at(1.0).accuracy.horizontal_m == 7.0


def test_late_samples_are_counted(flight: FlightRecord) -> None:
    flight.add_position(101.0, at(47 + NORTH_10_M))
    flight.add_body(101.0, LEVEL)
    assert flight.refused == Counter({"not in order": 2})


@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.floats(), st.floats(), st.floats() | st.none(), st.floats(-10, 700)),
        max_size=30,
    ),
    st.lists(st.floats(-5, 25), max_size=10),
)
def test_whatever_comes_in_no_nonsense_comes_out(samples: Any, moments: list[float]) -> None:
    from firmware_cfg.device import Telemetry

    record = FlightRecord(Telemetry(uri="mavlink:udp:a:1"), Camera(hfov_deg=70, gimbal="fixed"))
    for time_s, latitude, longitude, height_m, yaw in samples:
        record.add_position(time_s, Position(latitude, longitude, height_m, None))
        record.add_body(time_s, from_angles(yaw, 0, 0))
    for moment in moments:
        pose = record.pose_at(moment)
        if pose is not None:
            assert abs(pose.latitude) <= 90
            assert abs(pose.longitude) <= 180
            assert 0 < pose.height_m <= 20_000
            assert 0 <= pose.yaw_deg <= 360
            assert math.isfinite(pose.accuracy.horizontal_m)
    said = sum(record.refused.values())
    assert said <= 2 * len(samples) + len(moments)


@given(st.lists(st.floats(0, 100), unique=True, min_size=1).map(sorted), st.floats(-10, 110))
def test_a_series_finds_the_samples_around_a_moment(times: list[float], moment: float) -> None:
    series: Series[float] = Series()
    for time_s in times:
        assert series.add(time_s, -time_s)
        assert not series.add(time_s, 0.0)
    around = series.around(moment)
    if moment < times[0]:
        assert around is None
        return
    assert around is not None
    (before_s, before), (after_s, after) = around
    assert (before, after) == (-before_s, -after_s)
    assert before_s <= moment
    if moment < times[-1]:
        assert after_s > moment
        assert times.index(after_s) - times.index(before_s) == 1
    else:
        assert after_s == times[-1]


def test_a_bounded_series_keeps_the_newest() -> None:
    series: Series[int] = Series(keep=10)
    for time_s in range(1000):
        series.add(float(time_s), time_s)
    assert 10 <= len(series) < 20
    assert series.last == (999.0, 999)
    assert series.first_s == 1000 - len(series)


@given(st.lists(st.floats(0, 0.4), min_size=5, max_size=60), st.floats(-1e6, 1e6), st.floats(0, 1e5))
def test_delays_on_the_way_are_taken_out(delays: list[float], ahead_s: float, boot_s: float) -> None:
    clock = BootClock()
    for index, delay in enumerate([0.0, *delays]):
        sent = boot_s + index * 0.1
        assert clock.sent_at(sent, sent + ahead_s + delay) == pytest.approx(sent + ahead_s, abs=1e-6)


def test_an_autopilot_that_reboots_gets_a_new_clock() -> None:
    clock = BootClock()
    assert clock.sent_at(500.0, 1500.0) == 1500.0
    assert clock.sent_at(2.0, 1510.0) == 1510.0
    assert clock.sent_at(3.0, 1511.3) == pytest.approx(1511.0)


def test_clocks_that_drift_apart_are_followed() -> None:
    clock = BootClock()
    for second in range(100):
        sent = clock.sent_at(second * 0.999, float(second))
    assert sent == pytest.approx(99.0, abs=0.011)
