"""AU-AIR's annotations: its real ones, and damaged ones."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge.telemetry import open_telemetry
from firmware_cfg.device import Camera, Telemetry
from firmware_cfg.errors import SourceError

BEBOP = Camera(hfov_deg=80, gimbal="stabilised", pitch_deg=-80)
ENTRY: dict[str, Any] = {
    "image_name": "frame_1.jpg",
    "time": {"year": 2019, "month": 8, "day": 29, "hour": 9, "min": 11, "sec": 11, "ms": 394400.0},
    "longtitude": 10.188,
    "latitude": 56.206,
    "altitude": 19921.6,
    "angle_phi": -0.067,
    "angle_theta": 0.069,
    "angle_psi": -0.5,
}


def opened(folder: Path, *entries: dict[str, Any]) -> Any:
    path = folder / "annotations.json"
    path.write_text(json.dumps({"annotations": entries}))
    return open_telemetry(Telemetry(uri=str(path)), BEBOP)


def test_a_frame_is_known_by_its_name(tmp_path: Path, frame_at: Any) -> None:
    with opened(tmp_path, ENTRY) as telemetry:
        pose = telemetry.pose_of(frame_at(name="frame_1.jpg"))
        assert telemetry.pose_of(frame_at(name="frame_2.jpg")) is None
        assert telemetry.refused == Counter({"unknown frame": 1})
    assert (pose.latitude, pose.longitude) == (56.206, 10.188)
    assert pose.height_m == pytest.approx(19.9216)  # it is told in millimetres
    assert (pose.yaw_deg, pose.pitch_deg) == pytest.approx((360 - math.degrees(0.5), -80))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"latitude": math.nan}, "not a number"),
        ({"altitude": "high"}, "out of range"),
        ({"time": {"year": 2019}}, "missing field"),
        ({"latitude": 0, "longtitude": 0}, "zero position"),
        ({"angle_phi": math.inf}, "not a number"),
        ({"latitude": None}, "out of range"),
    ],
)
def test_a_bad_entry_is_left_out_and_counted(
    tmp_path: Path, frame_at: Any, change: dict[str, Any], cause: str
) -> None:
    other = {**ENTRY, "image_name": "frame_0.jpg", "time": {**ENTRY["time"], "ms": 0.0}}
    bad = {**other, **change}
    with opened(tmp_path, ENTRY, bad) as telemetry:
        assert telemetry.refused == Counter({cause: 1})
        assert telemetry.pose_of(frame_at(name="frame_0.jpg")) is None
        assert telemetry.pose_of(frame_at(name="frame_1.jpg")) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "has no annotations"),
        ('{"annotations": {"a": 1}}', "its annotations are no list"),
        ('{"annotations": [{"image_id": 3}]}', "no credible position; refused: missing field 1"),
        ('{"annotations": [3]}', "no credible position; refused: out of range 1"),
    ],
)
def test_another_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=message):
        open_telemetry(Telemetry(uri=str(path)), BEBOP)


def test_every_real_annotation_gives_a_pose(data_root: Path, frame_at: Any) -> None:
    path = data_root / "auair" / "annotations.json"
    names = [entry["image_name"] for entry in json.loads(path.read_text())["annotations"]]
    with open_telemetry(Telemetry(uri=str(path)), BEBOP) as telemetry:
        poses = [telemetry.pose_of(frame_at(name=name)) for name in names]
        assert not telemetry.refused
    heights = [pose.height_m for pose in poses if pose is not None]
    assert len(heights) == 80
    assert min(heights) > 4
    assert max(heights) < 31  # the data set was flown at 5 to 30 m
