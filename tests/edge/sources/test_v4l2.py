"""What can be told of V4L2 without a camera: addresses, missing and unfit devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.sources import CameraOptions, V4l2Source, open_source
from edge.sources.v4l2 import descriptor_of
from firmware_cfg.errors import SourceError


def test_an_address_says_what_is_asked_of_the_camera() -> None:
    source = open_source("v4l2:///dev/v4l/by-id/usb%20cam?size=1280x720&fps=30&format=mjpeg")
    assert isinstance(source, V4l2Source)
    assert source.name == "/dev/v4l/by-id/usb cam"
    assert source._settings == {"video_size": "1280x720", "framerate": "30", "input_format": "mjpeg"}
    assert source.live


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("v4l2://video0", "no path of a camera"),
        ("v4l2:///", "no path of a camera"),
        ("v4l2:///dev/video0?rate=30", r"cannot ask a camera for rate=30 \(known: size, fps, format\)"),
        ("v4l2:///dev/video0?fps=", "cannot ask a camera for fps="),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(uri: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        open_source(uri)


def test_why_a_camera_cannot_be_opened_is_one_line_with_a_mend(tmp_path: Path) -> None:
    plain = tmp_path / "video0"
    plain.touch()
    for device, problem in (
        ("/dev/no-such-camera", r"no camera there: No such file or directory \(is it plugged in"),
        (str(plain), "not a camera"),
        ("/dev/null", r"cannot be read as a camera: .*can it do size=640x480"),
    ):
        with pytest.raises(SourceError, match=problem) as caught:
            next(iter(open_source(f"v4l2://{device}?size=640x480", camera=CameraOptions())))
        assert "\n" not in str(caught.value)


def test_the_descriptor_of_an_open_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    assert descriptor_of(path) is None
    with path.open("w") as file:
        assert descriptor_of(path) == file.fileno()
    assert descriptor_of(path) is None
