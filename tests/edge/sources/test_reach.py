"""What a device file says of a camera reaches it; whether the camera can be reached is told."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from edge.sources import CameraOptions
from edge.sources.reach import camera_problem
from firmware_cfg.device import Source
from firmware_cfg.errors import SourceError
from tests.edge.sources.rtsp_camera import RtspCamera, skip_without_server


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "camera.password"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    return path


def test_every_option_of_a_device_file_arrives(password_file: Path) -> None:
    source = Source(
        uri="rtsp://camera/a",
        stall=2.0,
        latency=0.5,
        username="pilot",
        password_file=password_file,
        transport="udp",
        decoder="jetson",
    )
    wanted = CameraOptions(True, 2.0, 0.5, "udp", "jetson", "pilot", "s3cret")
    assert CameraOptions.from_config(source, patient=True) == wanted
    never = Source(uri="rtsp://camera/a", drop="never")
    assert CameraOptions.from_config(never, patient=False).latency_s is None


def test_a_password_file_that_went_away_or_is_empty_is_one_clear_line(password_file: Path) -> None:
    source = Source(uri="rtsp://camera/a", username="pilot", password_file=password_file)
    password_file.write_text("\n")
    with pytest.raises(SourceError, match="its first line is empty"):
        source.password()
    password_file.unlink()
    with pytest.raises(SourceError, match="No such file or directory"):
        source.password()


def test_a_camera_that_answers_has_no_problem_and_one_that_does_not_has(password_file: Path) -> None:
    skip_without_server()
    camera = RtspCamera(locked=True).start()
    try:
        right = Source(uri=camera.url(), username="pilot", password_file=password_file)
        assert camera_problem(right) is None
        problem = camera_problem(Source(uri=camera.url()))
        assert problem is not None
        assert "refuses the login" in problem
    finally:
        camera.kill()


def test_a_recording_is_not_played_to_see_whether_it_can_be() -> None:
    assert camera_problem(Source(uri="demo")) is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    problem = camera_problem(Source(uri=f"rtsp://127.0.0.1:{port}/a"))
    assert problem is not None
    assert "nothing listens" in problem


@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="GStreamer is not installed")
def test_a_stream_that_ends_before_its_first_picture_is_no_answer() -> None:
    problem = camera_problem(Source(uri="gstreamer:videotestsrc num-buffers=0"))
    assert problem == "gstreamer:videotestsrc: the camera ended the stream before its first picture"
    assert camera_problem(Source(uri="gstreamer:videotestsrc num-buffers=3")) is None
