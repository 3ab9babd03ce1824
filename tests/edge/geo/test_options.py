"""Cameras and telemetry on a command line."""

from __future__ import annotations

import pytest

from edge.geo.options import camera_option, telemetry_option
from firmware_cfg.errors import UsageError


def test_a_camera_in_one_word() -> None:
    camera = camera_option("hfov=69.5, gimbal=stabilised,pitch=-60")
    assert (camera.hfov_deg, camera.gimbal, camera.pitch_deg) == (69.5, "stabilised", -60.0)
    assert camera_option("focal=24,sensor_width=36").focal_mm == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("69", r"--camera 69: '69' is not KEY=VALUE with one of hfov, focal"),
        ("fov=69", "'fov=69' is not KEY=VALUE"),
        ("hfov=wide", "hfov_deg Input should be a valid number"),
        ("hfov=270", "hfov_deg must be between 1 and 170"),
        ("gimbal=fixed", r"camera must say what its lens sees in one way \(hfov_deg: 69"),
        ("hfov=69,pitch=-60", "pitch_deg is told by telemetry"),
    ],
)
def test_a_camera_that_is_none(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        camera_option(text)


def test_telemetry_by_its_address() -> None:
    assert telemetry_option("mavlink:udpin:0.0.0.0:14550").max_gap == 2.0
    with pytest.raises(UsageError, match=r"--telemetry a\.gpx: uri must name a source of telemetry"):
        telemetry_option("a.gpx")
