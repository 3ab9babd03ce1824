"""DJI's subtitles, in the dialects that its drones have written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.telemetry import open_telemetry
from edge.telemetry.dji import read_srt
from edge.telemetry.record import FlightRecord
from firmware_cfg.device import Camera, Telemetry
from firmware_cfg.errors import SourceError

MAVIC_3 = """{number}
00:00:{second:02d},{milli:03d} --> 00:00:{second:02d},{end:03d}
<font size="28">FrameCnt: {number}, DiffTime: 33ms
2023-05-04 12:33:01.123
[iso: 100] [shutter: 1/1000.0] [fnum: 2.8] [ev: 0] [focal_len: 24.00] [latitude: {latitude:.6f}] \
[longitude: 8.548100] [rel_alt: 30.100 abs_alt: 442.700] [ct: 5200] \
[gb_yaw: {yaw:.1f} gb_pitch: -89.9 gb_roll: 0.0] </font>

"""
PHANTOM_4 = """1
00:00:00,000 --> 00:00:01,000
HOME(149.0251,-20.2532) 2017.08.05 14:11:51
GPS(149.0251,-20.2533,16) BAROMETER:1.9
ISO:100 Shutter:60 EV: Fnum:F2.8

"""
MAVIC_PRO = """1
00:00:00,000 --> 00:00:01,000
F/2.8, SS 206.14, ISO 100, EV 0, GPS (8.5481, 47.3764, 15), D 11.42m, H 5.50m, H.S 0.10m/s, V.S 0.10m/s

"""
MAVIC_2 = """1
00:00:00,000 --> 00:00:00,033
[iso : 100] [shutter : 1/640.0] [latitude : 47.376400] [longtitude : 8.548100] [altitude: 442.7] [Drone: x]

"""


def section(path: Path) -> Telemetry:
    return Telemetry(uri=str(path))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "DJI_0042.SRT"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_pose_for_every_frame(tmp_path: Path, frame_at: Any) -> None:
    cues = [
        MAVIC_3.format(
            number=i + 1, second=0, milli=33 * i, end=33 * i + 33, latitude=47 + i * 1e-6, yaw=-170 - i * 3
        )
        for i in range(20)
    ]
    with open_telemetry(section(write(tmp_path, "".join(cues))), Camera(hfov_deg=71)) as telemetry:
        pose = telemetry.pose_of(frame_at(time_s=0.0495))
        assert pose is not None
        assert telemetry.pose_of(frame_at(time_s=5.0)) is None
        assert telemetry.refused == Counter({"telemetry is silent": 1})
    assert (pose.latitude, pose.longitude) == pytest.approx((47.0000015, 8.5481), abs=1e-8)
    assert (pose.height_m, pose.altitude_m) == pytest.approx((30.1, 442.7))
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx((185.5, -89.9, 0.0), abs=1e-3)


@pytest.mark.parametrize(
    ("text", "latitude", "longitude", "height_m", "altitude_m"),
    [
        (PHANTOM_4, -20.2533, 149.0251, 1.9, None),
        (MAVIC_PRO, 47.3764, 8.5481, 5.5, None),
        (MAVIC_2, 47.3764, 8.5481, None, 442.7),
    ],
)
def test_older_dialects(
    tmp_path: Path,
    new_record: Any,
    text: str,
    latitude: float,
    longitude: float,
    height_m: float | None,
    altitude_m: float | None,
) -> None:
    record: FlightRecord = new_record()
    read_srt(write(tmp_path, text), record)
    record.add_body(0.0, (1.0, 0.0, 0.0, 0.0))
    position = record._positions.last[1]
    assert (position.latitude, position.longitude) == (latitude, longitude)
    assert (position.relative_m, position.altitude_m) == (height_m, altitude_m)
    assert not record.refused


def test_subtitles_without_an_attitude_locate_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="tells no attitude of the camera"):
        open_telemetry(section(write(tmp_path, PHANTOM_4)), Camera(hfov_deg=71))


def test_positions_before_the_first_fix_are_refused(tmp_path: Path) -> None:
    cue = MAVIC_3.format(number=1, second=0, milli=0, end=33, latitude=0.0, yaw=0)
    cue = cue.replace("longitude: 8.548100", "longitude: 0.000000")
    with pytest.raises(SourceError, match="no credible position; refused: zero position 1"):
        open_telemetry(section(write(tmp_path, cue)), Camera(hfov_deg=71))


def test_numbers_that_cannot_be_are_refused(tmp_path: Path, new_record: Any) -> None:
    cue = MAVIC_3.format(number=1, second=0, milli=0, end=33, latitude=47, yaw=0)
    record: FlightRecord = new_record()
    read_srt(write(tmp_path, cue.replace("gb_yaw: 0.0", "gb_yaw: " + "9" * 400)), record)
    assert record.refused == Counter({"not a number": 1})
    with pytest.raises(SourceError, match="has no subtitles"):
        read_srt(write(tmp_path, cue.replace("00:00:00,000", "9" * 5000 + ":00:00,000")), record)


def test_other_subtitles_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no subtitles"):
        open_telemetry(section(write(tmp_path, "hello")), Camera(hfov_deg=71))
    film = "1\n00:00:01,000 --> 00:00:02,000\nHello there.\n"
    with pytest.raises(SourceError, match="no credible position; refused: missing field 1"):
        open_telemetry(section(write(tmp_path, film)), Camera(hfov_deg=71))


@settings(max_examples=50)
@given(st.text() | st.text("0123456789:,.-> []latiudegon\n()GPSH"))
def test_any_text_is_read_or_refused(tmp_path_factory: Any, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.srt"
    path.write_text(MAVIC_PRO + text, encoding="utf-8", errors="replace")
    record = FlightRecord(Telemetry(uri="mavlink:udp:a:1"), Camera(hfov_deg=71))
    read_srt(path, record)
    assert len(record._positions) + sum(record.refused.values()) >= 1
