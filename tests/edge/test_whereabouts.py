"""What a device file's camera and telemetry sections open, and the pose that a frame is given."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edge.frames import Frame, RgbImage
from edge.geo.camera import CameraModel
from edge.geo.pose import Pose, PoseAccuracy
from edge.sources import FrameSource
from edge.whereabouts import Whereabouts, open_whereabouts
from firmware_cfg.device import Camera, Telemetry
from firmware_cfg.errors import SourceError

FRAME = Frame(RgbImage(np.zeros((2, 2, 3), np.uint8)), 0, 0.0, datetime.now(timezone.utc), 0, "flight.mp4")
CAMERA = Camera(hfov_deg=70)
POSE = Pose(1.0, 2.0, 3.0, 0.0, -90.0, 0.0, PoseAccuracy(1.5, 2.0, 3.0, 1.0))
CUE = """{number}
00:00:{number:02d},000 --> 00:00:{number:02d},500
[latitude: 47.000000] [longitude: 8.000000] [rel_alt: 30.100 abs_alt: 442.700] \
[gb_yaw: 90.0 gb_pitch: -90.0 gb_roll: 0.0]

"""


class Nothing(FrameSource):
    """A source without frames."""

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        return cls(uri)

    def __iter__(self) -> Iterator[Frame]:
        return iter(())


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def subtitles(tmp_path: Path) -> Path:
    """A recording of three seconds."""
    path = tmp_path / "flight.srt"
    path.write_text("".join(CUE.format(number=number) for number in range(3)))
    return path


def test_what_is_not_described_is_nowhere(stack: ExitStack) -> None:
    whereabouts = open_whereabouts(None, None, Nothing("flight"), stack)
    assert whereabouts == Whereabouts(None, None)
    assert whereabouts.attach(FRAME) is FRAME
    assert whereabouts.refused() == {}


def test_a_source_that_knows_its_camera_needs_no_section(stack: ExitStack) -> None:
    source = Nothing("flight")
    source.camera = CameraModel.from_hfov(90)
    whereabouts = open_whereabouts(None, None, source, stack)
    assert whereabouts.locator is not None
    assert whereabouts.locator.camera is source.camera
    assert whereabouts.telemetry is None
    # What the device file says of the camera goes first.
    described = open_whereabouts(CAMERA, None, source, stack)
    assert described.locator is not None
    assert described.locator.camera == CameraModel.from_section(CAMERA)


def test_a_frame_is_given_the_pose_of_its_capture(stack: ExitStack, subtitles: Path) -> None:
    whereabouts = open_whereabouts(CAMERA, Telemetry(uri=str(subtitles)), Nothing("flight"), stack)
    pose = whereabouts.attach(replace(FRAME, time_s=1.5)).pose
    assert pose is not None
    assert (pose.latitude, pose.longitude, pose.height_m, pose.yaw_deg) == pytest.approx((47, 8, 30.1, 90))
    known = replace(FRAME, pose=POSE)
    assert whereabouts.attach(known) is known
    assert whereabouts.refused() == {}
    assert whereabouts.attach(replace(FRAME, time_s=60.0)).pose is None
    assert sum(whereabouts.refused().values()) == 1


def test_the_bound_of_positions_is_the_telemetrys(stack: ExitStack, subtitles: Path) -> None:
    middle = np.array([[1.0, 1.0]])
    for bound, told in ((100.0, True), (0.5, False)):
        section = Telemetry(uri=str(subtitles), max_h_acc_m=bound)
        locator = open_whereabouts(CAMERA, section, Nothing("flight"), stack).locator
        assert locator is not None
        assert bool(np.isfinite(locator.locate(middle, POSE, (2, 2)).h_acc_m[0])) is told


def test_a_link_listens_until_the_flight_ends() -> None:
    pytest.importorskip("pymavlink")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    section = Telemetry(uri=f"mavlink:udpin:127.0.0.1:{port}")
    with ExitStack() as stack:
        whereabouts = open_whereabouts(CAMERA, section, Nothing("flight"), stack)
        assert whereabouts.attach(FRAME).pose is None
        assert whereabouts.refused() == {"no position": 1}
        with pytest.raises(SourceError, match=str(port)), ExitStack() as other:
            open_whereabouts(CAMERA, section, Nothing("flight"), other)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))
