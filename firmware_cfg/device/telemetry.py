"""The `telemetry` section of a device file: where poses come from, and how good they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from firmware_cfg.base import ConfigModel, Duration, between, is_of_this_tree, resolve_path
from firmware_cfg.problems import Finding, must, raise_findings, stated

#: A MAVLink connection; what follows is an address as pymavlink writes it.
MAVLINK = "mavlink:"
TELEMETRY_SUFFIXES = (".tlog", ".bin", ".srt", ".json")
"""Recordings: MAVLink of a ground station, ArduPilot's own log, DJI subtitles, AU-AIR annotations."""

_LINK = re.compile(r"(?:udpin|udp|tcp):[^\s:]+:(?P<port>[0-9]{1,5})|/dev/[^\s,]+(?:,(?P<baud>[0-9]{1,8}))?")
_PORTS = range(1, 65536)
_BAUDS = range(1200, 4_000_001)


def _telemetry_uri(value: str, info: ValidationInfo) -> str:
    if value.startswith(MAVLINK):
        link = _LINK.fullmatch(value.removeprefix(MAVLINK))
        if link is None:
            raise must("name a MAVLink link", "mavlink:udpin:0.0.0.0:14550, or mavlink:/dev/ttyTHS1,921600")
        for part, numbers in (("port", _PORTS), ("baud", _BAUDS)):
            if link[part] is not None and int(link[part]) not in numbers:
                raise must(f"name a {part} from {numbers[0]} to {numbers[-1]}")
        return value
    if not value.strip() or Path(value).suffix.lower() not in TELEMETRY_SUFFIXES:
        raise must(
            "name a source of telemetry", f"mavlink:..., or a {' '.join(TELEMETRY_SUFFIXES)} recording"
        )
    path = resolve_path(value, info)
    if is_of_this_tree(value) and path.is_absolute() and not path.is_file():
        raise must("name a recording that exists", f"looked for {path}")
    return str(path)


class Accuracy(ConfigModel):
    """One standard deviation of each error that is left; every position's h_acc_m follows from these."""

    horizontal_m: Annotated[float, between(0.005, 100)] = Field(
        1.5,
        description="Of the position, to the north and to the east; the receiver's own figure counts"
        " where it is worse.",
    )
    height_m: Annotated[float, between(0.005, 100)] = Field(2.0, description="Of the height above ground.")
    heading_deg: Annotated[float, between(0.01, 90)] = Field(3.0, description="Of the camera's heading.")
    tilt_deg: Annotated[float, between(0.01, 45)] = Field(
        1.0, description="Of the camera's attitude about each horizontal axis, mount included."
    )
    time: Duration = Field(0.05, description="Of the frame's time on the telemetry's clock.")


class Telemetry(ConfigModel):
    """Where the drone was and how it hung in the air."""

    uri: Annotated[str, AfterValidator(_telemetry_uri)] = Field(
        description="mavlink:ADDRESS (udpin:0.0.0.0:14550, tcp:HOST:PORT, /dev/ttyTHS1,921600), or a"
        " recording: .tlog, ArduPilot .bin, DJI .srt, AU-AIR .json."
    )
    clock_offset_s: Annotated[float, between(-86400, 86400)] = Field(
        0.0,
        description="Seconds that the telemetry's clock is ahead of the frames'; live: minus the camera's own"
        " delay, such as -0.1 (what its stream lags behind beyond that is measured).",
    )
    system_id: Annotated[int, between(1, 255)] | None = Field(
        None, description="MAVLink system of this drone; default: the first that tells a position."
    )
    ground_msl_m: Annotated[float, between(-430, 8850)] | None = Field(
        None,
        description="Height of the ground above mean sea level; default: flat, as high as the take-off.",
    )
    max_gap: Duration = Field(
        2.0,
        description="Nothing is said about moments inside a longer gap, or later after the newest sample.",
    )
    max_speed_mps: Annotated[float, between(1, 200)] = Field(
        40.0, description="Positions that ask for more than this are refused."
    )
    max_h_acc_m: Annotated[float, between(0.1, 10000)] = Field(
        50.0, description="Places known less well (95%) are given no position."
    )
    accuracy: Accuracy = Field(Accuracy(), description="How good the sensors are.")

    @model_validator(mode="after")
    def _durations_are_sensible(self) -> Telemetry:
        found = []
        if not 0.05 <= self.max_gap <= 60:
            found.append(Finding(("max_gap",), stated("max_gap must be between 50ms and 1min")))
        if self.accuracy.time > 10:
            found.append(Finding(("accuracy", "time"), stated("time must be between 0s and 10s")))
        raise_findings("Telemetry", found)
        return self
