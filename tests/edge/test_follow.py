"""From places to tracks on the ground, over water: there is nothing to see that would tell the motion."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pymap3d
import pytest

from edge.follow import Followed, Follower
from edge.frames import Frame, RgbImage
from edge.geo.camera import CameraModel
from edge.geo.locate import Locator
from edge.geo.pose import Pose, PoseAccuracy
from edge.lookup import FrameScores, Place
from firmware_cfg.prompt_list import PromptList

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
BOATS = PromptList.model_validate({"version": 1, "prompts": [{"id": "boat", "text": "a boat"}]})
CAMERA = CameraModel.from_hfov(90)
DOWN = Pose(47.0, 8.0, 64.0, 0.0, -90.0, 0.0, PoseAccuracy(1.5, 2.0, 3.0, 1.0))
WIDTH, HEIGHT = 640, 360  # of the frames; 5 pixels are a metre


def follower(*, locator: Locator | None, independent: bool = False) -> Follower:
    return Follower(BOATS, independent=independent, locator=locator, embedding_width=0)


def boat_at(x: float, y: float) -> Place:
    return Place("boat", 0.9, 1.0, (x - 10, y - 10, x + 10, y + 10))


def moved_east(pose: Pose, metres: float) -> Pose:
    latitude, longitude, _ = pymap3d.enu2geodetic(metres, 0, 0, pose.latitude, pose.longitude, 0)
    return replace(pose, latitude=float(latitude), longitude=float(longitude))


def water(number: int, pose: Pose | None, width: int = WIDTH, height: int = HEIGHT) -> Frame:
    pixels = np.full((height, width, 3), (40, 70, 90), np.uint8)
    return Frame(RgbImage(pixels), number, number / 2, NOON, 0, "water", pose)


def over_water(locator: Locator | None, *frames: tuple[float, Pose | None]) -> list[Followed]:
    """Frames two a second, each with the column of its one boat and the camera's pose."""
    boats = follower(locator=locator)
    return [
        boats.take(water(number, pose), FrameScores({}, (boat_at(x, 180),)))
        for number, (x, pose) in enumerate(frames)
    ]


def ids(followed: list[Followed]) -> set[int]:
    return {track.track_id for each in followed for track in each.tracks}


def test_over_water_the_telemetry_tells_how_the_camera_moved() -> None:
    # The drone waits, and then darts 40 m eastwards: 200 pixels to the left for what stands.
    poses = (DOWN, DOWN, DOWN, moved_east(DOWN, 40))
    columns = (500.0, 500.0, 500.0, 300.0)
    known = over_water(Locator(CAMERA), *zip(columns, poses, strict=True))
    assert ids(known) == {1}
    assert known[-1].counts.prompts["boat"].unique == 1
    # Who does not know of that takes it for another boat.
    assert ids(over_water(None, *zip(columns, poses, strict=True))) == {1, 2}
    assert ids(over_water(Locator(CAMERA), *((column, None) for column in columns))) == {1, 2}


def test_no_motion_is_told_across_a_frame_without_a_pose() -> None:
    poses = (DOWN, DOWN, None, moved_east(DOWN, 40))
    columns = (500.0, 500.0, 500.0, 300.0)
    assert ids(over_water(Locator(CAMERA), *zip(columns, poses, strict=True))) == {1, 2}


def test_a_frame_of_another_size_begins_anew() -> None:
    boats, scores = follower(locator=Locator(CAMERA)), FrameScores({}, (boat_at(300, 180),))
    boats.take(water(0, DOWN), scores)
    (track,) = boats.take(water(1, moved_east(DOWN, 40), WIDTH // 2, HEIGHT), scores).tracks
    assert track.track_id == 2


@pytest.mark.parametrize("independent", [False, True])
def test_every_track_has_its_place_on_the_ground_in_its_order(independent: bool) -> None:
    boats = follower(locator=Locator(CAMERA), independent=independent)
    places = (boat_at(420, 180), boat_at(320, 80))
    followed = boats.take(water(0, DOWN), FrameScores({}, places))
    assert [track.place for track in followed.tracks] == list(places)
    ground = followed.ground
    assert ground is not None
    east, north, _ = pymap3d.geodetic2enu(ground.latitude, ground.longitude, 0, 47.0, 8.0, 0)
    np.testing.assert_allclose(np.stack([east, north], axis=1), [(20, 0), (0, 20)], atol=1e-3)
    assert (ground.h_acc_m > 0).all()


def test_without_a_camera_or_a_pose_nothing_is_on_the_ground() -> None:
    (without_pose,) = over_water(Locator(CAMERA), (300.0, None))
    (without_camera,) = over_water(None, (300.0, DOWN))
    assert (without_pose.ground, without_camera.ground) == (None, None)
