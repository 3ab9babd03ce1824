"""DJI's subtitle files: a line of telemetry for each frame or second, in several dialects.

    [latitude: 47.3764] [longitude: 8.5481] [rel_alt: 30.1 abs_alt: 442.7] [gb_yaw: 12.3 gb_pitch: -90.0 ...]
    HOME(149.0251,-20.2532) ... GPS(149.0251,-20.2533,16) BAROMETER:1.9
    F/2.8, SS 206, ISO 100, EV 0, GPS (8.5481, 47.3764, 15), D 11.4m, H 5.50m, H.S 0.1m/s

The last two have no attitude, so that nothing can be located by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from edge.geo.attitude import from_angles
from edge.telemetry.position import Position
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from edge.telemetry.record import FlightRecord

_TIMES = re.compile(r"^(\d{1,4}):(\d\d):(\d\d)[,.](\d{1,3})\s*-->", re.MULTILINE)
_NUMBER = r"([-+]?\d+(?:\.\d+)?)"
_NAMED = re.compile(rf"\b([A-Za-z_]+)\s*:\s*{_NUMBER}")
_GPS = re.compile(rf"\bGPS\s*\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*,")
_HEIGHT = re.compile(rf"\bH\s+{_NUMBER}\s*m")
_NAMES = {"longtitude": "longitude", "barometer": "rel_alt", "altitude": "abs_alt", "drone_yaw": "yaw"}
_MARKUP = re.compile(r"<[^>]*>")


def read_srt(path: Path, record: FlightRecord) -> None:
    """Fills `record` on the video's clock (0 at its first frame). Raises SourceError, OSError."""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    cues = 0
    for time_s, cue in _cues(text):
        cues += 1
        told = _told(cue)
        if "latitude" not in told or "longitude" not in told:
            record.refuse("missing field", f"the subtitle at {time_s:.3f} s has no position")
            continue
        height, altitude = told.get("rel_alt"), told.get("abs_alt")
        record.add_position(time_s, Position(told["latitude"], told["longitude"], height, altitude))
        if "gb_yaw" in told and "gb_pitch" in told:
            angles = (told["gb_yaw"], told["gb_pitch"], told.get("gb_roll", 0.0))
            record.add_camera(time_s, from_angles(*angles))
    if not cues:
        raise SourceError(f"{path}: has no subtitles (DJI writes it beside the video when captions are on)")


def _cues(text: str) -> Iterator[tuple[float, str]]:
    for start, following in pairwise([*_TIMES.finditer(text), None]):
        assert start is not None  # only the last is
        hours, minutes, seconds, fraction = start.groups()
        time_s = int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
        yield time_s, text[start.end() : following.start() if following else len(text)]


def _told(cue: str) -> dict[str, float]:
    cue = _MARKUP.sub(" ", cue)
    told: dict[str, float] = {}
    for name, number in _NAMED.findall(cue):
        told[_NAMES.get(name.lower(), name.lower())] = float(number)
    if (place := _GPS.search(cue)) is not None:
        told["longitude"], told["latitude"] = float(place[1]), float(place[2])
    if (height := _HEIGHT.search(cue)) is not None:
        told["rel_alt"] = float(height[1])
    return told
