"""From pixels to the ground and back: by hand, against pymap3d, by round trips, and with simulated errors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pymap3d
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.geo.attitude import from_angles, rotation
from edge.geo.camera import CameraModel
from edge.geo.earth import LocalPlane
from edge.geo.locate import Locator, ground_homography, radius_95, stands_at
from edge.geo.pose import Pose, PoseAccuracy

SIZE = (1280, 720)
CAMERA = CameraModel.from_hfov(90)  # 640 pixels are as far as the ground is
SURE = PoseAccuracy(1.5, 2.0, 3.0, 1.0)
DOWN = Pose(47.0, 8.0, 64.0, 0.0, -90.0, 0.0, SURE)
PIXELS = np.random.default_rng(4).uniform((0, 0), SIZE, (50, 2))

POSES = st.builds(
    Pose,
    latitude=st.floats(-80, 80),
    longitude=st.floats(-180, 180),
    height_m=st.floats(2, 300),
    yaw_deg=st.floats(0, 360),
    pitch_deg=st.floats(-90, -20),
    roll_deg=st.floats(-30, 30),
    accuracy=st.just(SURE),
    altitude_m=st.none() | st.floats(300, 4000),
)


@pytest.mark.parametrize(
    ("yaw_deg", "pixel", "north", "east"),
    [
        (0, (640, 360), 0, 0),
        (0, (640, 260), 10, 0),  # the picture's upper edge is north
        (0, (740, 360), 0, 10),
        (90, (640, 260), 0, 10),
        (180, (740, 260), -10, -10),
    ],
)
def test_straight_down_a_pixel_is_a_step_on_the_ground(
    yaw_deg: float, pixel: tuple[float, float], north: float, east: float
) -> None:
    found = Locator(CAMERA).locate(np.array([pixel]), replace(DOWN, yaw_deg=yaw_deg), SIZE)
    e, n, _ = pymap3d.geodetic2enu(found.latitude, found.longitude, 0, 47.0, 8.0, 0)
    np.testing.assert_allclose([n[0], e[0]], [north, east], atol=1e-6)


def test_at_45_degrees_the_middle_is_as_far_as_the_camera_is_high() -> None:
    pose = replace(DOWN, pitch_deg=-45.0, yaw_deg=90.0)
    found = Locator(CAMERA).locate(np.array([[640.0, 360.0]]), pose, SIZE)
    e, n, _ = pymap3d.geodetic2enu(found.latitude, found.longitude, 0, 47.0, 8.0, 0)
    np.testing.assert_allclose([n[0], e[0]], [0, 64], atol=1e-3)


def test_a_camera_rolled_clockwise_sees_its_right_side_nearer() -> None:
    pose = replace(DOWN, pitch_deg=-45.0, roll_deg=10.0)
    left, right = Locator(CAMERA).locate(np.array([[340.0, 360.0], [940.0, 360.0]]), pose, SIZE).latitude
    assert right < left  # it looks north, and further off is higher in the picture


@given(POSES)
def test_there_and_back(pose: Pose) -> None:
    locator = Locator(CAMERA, max_h_acc_m=1e4)
    ground = locator.locate(PIXELS, pose, SIZE)
    found = ~np.isnan(ground.latitude)
    back = locator.to_pixels(ground.latitude, ground.longitude, pose, SIZE)
    np.testing.assert_allclose(back[found], PIXELS[found], atol=1e-3)
    assert np.isnan(ground.latitude).tolist() == np.isnan(ground.h_acc_m).tolist()
    assert (ground.h_acc_m[found] > 0).all()
    assert len(list(ground)) == len(PIXELS)


@settings(max_examples=50)
@given(POSES, st.floats(-20, 20), st.floats(-20, 20), st.floats(0, 360), st.floats(-80, -50))
def test_the_homography_takes_pixels_where_their_ground_has_gone(
    pose: Pose, north: float, east: float, yaw_deg: float, pitch_deg: float
) -> None:
    latitude, longitude = LocalPlane(pose.latitude, pose.longitude).to_degrees(np.array([[north, east]]))
    now = replace(
        pose, latitude=latitude[0], longitude=longitude[0], yaw_deg=yaw_deg, pitch_deg=pitch_deg, roll_deg=0.0
    )
    locator = Locator(CAMERA, max_h_acc_m=100)
    ground = locator.locate(PIXELS, pose, SIZE)
    matrix = ground_homography(CAMERA, pose, now, SIZE)
    assert matrix is not None
    moved = np.c_[PIXELS, np.ones(len(PIXELS))] @ matrix.T
    there = locator.to_pixels(ground.latitude, ground.longitude, now, SIZE)
    near = np.abs(there).max(axis=1) < 5000  # False for NaN: what is behind the camera now
    np.testing.assert_allclose((moved[:, :2] / moved[:, 2:])[near], there[near], atol=0.5)


def test_no_homography_of_ground_that_is_now_beside_the_camera() -> None:
    # At the corner the earlier camera saw ground 36 m ahead; this one looks back, square to its way there.
    back = replace(DOWN, yaw_deg=180.0, pitch_deg=-math.degrees(math.atan(360 / 640)))
    assert ground_homography(CAMERA, DOWN, back, SIZE) is None
    assert ground_homography(CAMERA, DOWN, replace(back, pitch_deg=back.pitch_deg + 0.1), SIZE) is not None


def test_a_homography_for_every_attitude() -> None:
    for pitch_deg in range(-90, 31, 10):
        for roll_deg in range(-180, 181, 20):
            now = replace(DOWN, pitch_deg=float(pitch_deg), roll_deg=float(roll_deg))
            matrix = ground_homography(CAMERA, DOWN, now, SIZE)
            assert matrix is not None
            assert np.isfinite(matrix).all()


def test_the_sky_and_the_far_ground_are_nowhere() -> None:
    pose = replace(DOWN, pitch_deg=-10.0)
    rows = np.array([[640.0, y] for y in (0.0, 247.0, 250.0, 300.0, 719.0)])  # the horizon is at 247
    found = Locator(CAMERA).locate(rows, pose, SIZE)
    assert np.isnan(found.latitude).tolist() == [True, True, True, True, False]
    assert np.isnan(found.h_acc_m).tolist() == [True, True, True, True, False]
    assert next(iter(found)) is None
    above = Locator(CAMERA).locate(PIXELS, replace(DOWN, pitch_deg=60.0), SIZE)
    assert np.isnan(above.latitude).all()


def test_nobody_is_located_in_no_pixels() -> None:
    assert len(Locator(CAMERA).locate(np.empty((0, 2)), DOWN, SIZE).latitude) == 0


@pytest.mark.parametrize("pitch_deg", [-90.0, -60.0, -35.0])
def test_the_stated_radius_holds_95_in_a_hundred(pitch_deg: float) -> None:
    random = np.random.default_rng(7)
    pose = replace(DOWN, pitch_deg=pitch_deg, accuracy=PoseAccuracy(1.5, 2.0, 3.0, 1.0))
    locator, inside, drawn = Locator(CAMERA), 0, 0
    sigmas = [[1.5], [1.5], [3.0], [1.0], [1.0], [2.0]]
    north, east, yaw, pitch, roll, height = random.normal(size=(6, 200)) * sigmas
    for i in range(200):
        # Rolling about the view's axis is what the tilt and the heading make of it, seen from above or not.
        truth = replace(
            pose,
            latitude=pose.latitude + north[i] / 111_175,
            longitude=pose.longitude + east[i] / 76_056,
            yaw_deg=yaw[i],
            pitch_deg=pitch_deg + pitch[i],
            roll_deg=roll[i],
            height_m=pose.height_m + height[i],
        )
        told, true = (locator.locate(PIXELS, each, SIZE) for each in (pose, truth))
        n, e = LocalPlane(47.0, 8.0).from_degrees(told.latitude, told.longitude).T
        tn, te = LocalPlane(47.0, 8.0).from_degrees(true.latitude, true.longitude).T
        error = np.hypot(n - tn, e - te)
        known = ~np.isnan(error)
        inside += int((error[known] <= told.h_acc_m[known]).sum())
        drawn += int(known.sum())
    assert inside / drawn >= 0.90


@given(long=st.floats(0.1, 100), share=st.floats(0, 1), turn=st.floats(0, math.pi))
def test_the_radius_of_95_percent(long: float, share: float, turn: float) -> None:
    short = long * share
    c, s = math.cos(turn), math.sin(turn)
    north, east = (long * c) ** 2 + (short * s) ** 2, (long * s) ** 2 + (short * c) ** 2
    both = (long**2 - short**2) * c * s
    radius = float(radius_95(*(np.array([part]) for part in (north, east, both)))[0])
    # Of the share inside, by rays from the centre: P = 1 - mean over angles of exp(-r²/2 * u' S^-1 u) with
    # angles drawn in the ellipse's own circle.
    angles = (np.arange(20_000) + 0.5) * (2 * math.pi / 20_000)
    reach = radius / np.hypot(long * np.cos(angles), short * np.sin(angles))
    assert 1 - np.exp(-(reach**2) / 2).mean() == pytest.approx(0.95, abs=0.003)


def test_where_a_box_stands_follows_from_how_it_is_seen() -> None:
    boxes = np.array([[100.0, 200.0, 140.0, 280.0]])
    for pitch_deg, y in ((-90.0, 240.0), (-45.0, 260.0), (0.0, 280.0), (20.0, 280.0)):
        np.testing.assert_allclose(stands_at(boxes, replace(DOWN, pitch_deg=pitch_deg)), [[120.0, y]])
    assert stands_at(np.empty((0, 4)), DOWN).shape == (0, 2)


@pytest.mark.parametrize(
    ("roll_deg", "foot"), [(0, (120, 280)), (90, (140, 240)), (180, (120, 200)), (-90, (100, 240))]
)
def test_a_rolled_camera_sees_the_foot_at_another_edge(roll_deg: float, foot: tuple[float, float]) -> None:
    level = replace(DOWN, pitch_deg=0.0, roll_deg=roll_deg)
    found = stands_at(np.array([[100.0, 200.0, 140.0, 280.0]]), level)
    np.testing.assert_allclose(found, [foot], atol=1e-9)


@pytest.mark.parametrize("roll_deg", [0.0, 90.0, 180.0, -90.0])
def test_a_mast_stands_where_it_stands_however_the_camera_is_mounted(roll_deg: float) -> None:
    pose = replace(DOWN, height_m=50.0, pitch_deg=-30.0, roll_deg=roll_deg)
    turn = rotation(from_angles(0.0, -30.0, roll_deg))
    mast = np.array([[60.0, 0.0, 50.0], [60.0, 0.0, 44.0]])  # north, east, down: its foot and its top
    pixels = CAMERA.pixels(mast @ turn, SIZE)
    box = np.array([[*pixels.min(axis=0), *pixels.max(axis=0)]])
    found = Locator(CAMERA).locate(stands_at(box, pose), pose, SIZE)
    north, _ = LocalPlane(47.0, 8.0).from_degrees(found.latitude, found.longitude)[0]
    assert 60 <= north < 63  # the middle of a thing as deep as it is tall; its top would be at 68
