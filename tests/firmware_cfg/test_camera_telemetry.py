"""The sections `camera` and `telemetry` of a device file: what they take, and what they say of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_cfg.device import DeviceFile, load_device
from firmware_cfg.errors import ConfigErrors

HEAD = "device: drone-1\nsource: {uri: demo}\n"


def load(tmp_path: Path, text: str) -> DeviceFile:
    path = tmp_path / "device.yaml"
    path.write_text(HEAD + text)
    return load_device(path)


def test_a_gimbal_camera_and_a_live_link(tmp_path: Path) -> None:
    device = load(
        tmp_path,
        "camera: {hfov_deg: 69}\n"
        "telemetry:\n"
        "  uri: mavlink:/dev/ttyTHS1,921600\n"
        "  clock_offset_s: -0.1\n"
        "  accuracy: {horizontal_m: 0.05, time: 20ms}\n",
    )
    assert device.camera is not None
    assert device.telemetry is not None
    assert device.camera.gimbal == "telemetry"
    assert device.telemetry.accuracy.time == 0.02
    assert device.telemetry.accuracy.height_m == 2.0


def test_a_recordings_path_starts_at_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "a.SRT").touch()
    device = load(tmp_path, "camera: {hfov_deg: 69}\ntelemetry: {uri: a.SRT}\n")
    assert device.telemetry is not None
    assert device.telemetry.uri == str(tmp_path / "a.SRT")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camera: {}\n", ":3:9: camera must say what its lens sees in one way (hfov_deg: 69"),
        ("camera: {hfov_deg: 69, focal_mm: 4, sensor_width_mm: 6}\n", ":3:9: camera must say"),
        ("camera: {focal_mm: 4}\n", ":3:20: focal_mm needs sensor_width_mm beside it"),
        ("camera: {sensor_width_mm: 4}\n", ": sensor_width_mm needs focal_mm beside it"),
        ("camera: {hfov_deg: 190}\n", ":3:20: hfov_deg must be between 1 and 170, got 190"),
        ("camera: {hfov_deg: .nan}\n", ":3:20: hfov_deg must be a number"),
        ("camera: {hfov_deg: 69, pitch_deg: -45}\n", "pitch_deg is told by telemetry (or write gimbal: st"),
        ("camera: {hfov_deg: 69, gimbal: fixd}\n", ":3:32: gimbal must be"),
        ("camera: {hfov_deg: 69, distortion: {k1: 20}}\n", ":3:41: k1 must be between -10 and 10, got 20"),
        ("telemetry: {uri: 'mavlink:udp:0.0.0.0:1'}\n", ":3:12: telemetry needs a camera section beside it"),
        ("camera: {hfov_deg: 69}\ntelemetry: {uri: mavlink:14550}\n", 'must name a MAVLink link, got "mavl'),
        (
            "camera: {hfov_deg: 69}\ntelemetry: {uri: 'mavlink:udpin:0.0.0.0:99999'}\n",
            "a port from 1 to 65535",
        ),
        ("camera: {hfov_deg: 69}\ntelemetry: {uri: 'mavlink:tcp:host:0'}\n", "a port from 1 to 65535"),
        ("camera: {hfov_deg: 69}\ntelemetry: {uri: 'mavlink:/dev/ttyS1,0'}\n", "a baud from 1200 to 4000000"),
        ("camera: {hfov_deg: 69}\ntelemetry: {uri: 'mavlink:/dev/ttyS1,99999999'}\n", "a baud from 1200"),
        ("camera: {hfov_deg: 69}\ntelemetry: {uri: a.tlog}\n", "must name a recording that exists"),
        ("camera: {hfov_deg: 69}\ntelemetry: {uri: a.gpx}\n", "must name a source of telemetry"),
        (
            "camera: {hfov_deg: 69}\ntelemetry: {uri: 'mavlink:udp:a:1', max_gap: 2min}\n",
            "max_gap must be between 50ms and 1min",
        ),
        (
            "camera: {hfov_deg: 69}\ntelemetry: {uri: 'mavlink:udp:a:1', accuracy: {time: 1min}}\n",
            "time must be between 0s and 10s",
        ),
        (
            "camera: {hfov_deg: 69}\ntelemetry: {uri: 'mavlink:udp:a:1', accuracy: {heading_deg: 0}}\n",
            "heading_deg must be between 0.01 and 90, got 0",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert len(caught.value.errors) == 1
