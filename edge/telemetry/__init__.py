"""Where the camera was and how it looked when each frame was captured: MAVLink, AU-AIR and DJI records.

`open_telemetry` opens what a device file names. A reader of one kind of telemetry fills a FlightRecord, which
refuses what cannot be true and tells the pose at any moment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge.geo.pose import Pose, PoseAccuracy
from edge.telemetry.base import ByName, ByUtc, ByVideoTime, Telemetry
from edge.telemetry.record import FlightRecord
from firmware_cfg.device.telemetry import MAVLINK
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from firmware_cfg.device.camera import Camera
    from firmware_cfg.device.telemetry import Telemetry as TelemetrySection

__all__ = ["Pose", "PoseAccuracy", "Telemetry", "open_telemetry"]

_KEPT_LIVE = 3000
"""Samples of each kind: a minute at 50 a second, far more than any frame waits."""


def open_telemetry(section: TelemetrySection, camera: Camera) -> Telemetry:
    """Reads a recording as a whole, or starts to listen to a link, which need not be there yet.

    Raises:
        SourceError: the recording is missing, damaged, or has no positions or no attitudes that `camera`
            could use; the link's port cannot be opened.
        MissingExtra: pymavlink or pyserial is not installed.
    """
    if section.uri.startswith(MAVLINK):
        from edge.telemetry.mavlink_live import LiveMavlink

        record = FlightRecord(section, camera, keep=_KEPT_LIVE)
        address = section.uri.removeprefix(MAVLINK)
        return LiveMavlink(record, address, section.clock_offset_s, section.system_id)
    record = FlightRecord(section, camera)
    telemetry = _read(Path(section.uri), record, section)
    if (missing := record.lacks()) is not None:
        causes = ", ".join(f"{cause} {count}" for cause, count in record.refused.items())
        raise SourceError(f"{section.uri}: {missing}" + (f"; refused: {causes}" if causes else ""))
    return telemetry


def _read(path: Path, record: FlightRecord, section: TelemetrySection) -> Telemetry:
    try:
        kind = path.suffix.lower()
        if kind == ".json":
            from edge.telemetry.auair import read_auair

            return ByName(record, read_auair(path, record))
        if kind == ".srt":
            from edge.telemetry.dji import read_srt

            read_srt(path, record)
            return ByVideoTime(record, section.clock_offset_s)
        from edge.telemetry.mavlink_log import read_dataflash, read_tlog

        if kind == ".tlog":
            read_tlog(path, record, section.system_id)
        elif kind == ".bin":
            read_dataflash(path, record)
        else:
            raise SourceError(f"{path}: no known kind of telemetry (.tlog, .bin, .srt or .json)")
        return ByUtc(record, section.clock_offset_s)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror} (check the path)") from error
