"""Recorded MAVLink: a ground station's .tlog and ArduPilot's own dataflash .bin."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.geo.attitude import from_angles
from edge.telemetry.mavlink import MavlinkMessages, new_parser
from edge.telemetry.position import Position
from firmware_cfg.errors import MissingExtra, SourceError

if TYPE_CHECKING:
    from edge.telemetry.record import FlightRecord

_STAMP = struct.Struct(">Q")  # microseconds since 1970, before every message
_V1, _V2 = 0xFE, 0xFD
_SIGNED = 1
_SANE_S = (1e9, 4e9)  # 2001 to 2096: a stamp outside of it is no stamp


def read_tlog(path: Path, record: FlightRecord, system_id: int | None = None) -> None:
    """Fills `record`, on the clock of the ground station that wrote it. Raises MissingExtra, OSError."""
    parser, messages = new_parser(), MavlinkMessages(record, system_id)
    for stamp_s, frame in _tlog_frames(path.read_bytes(), record):
        for message in parser.parse_buffer(frame) or ():
            messages.take(message, stamp_s)


def _tlog_frames(data: bytes, record: FlightRecord) -> Iterator[tuple[float, bytearray]]:
    """Frames with the time they were received; damage is skipped to the next stamp that a frame follows."""
    begin, good = 0, True
    while begin + _STAMP.size + 3 <= len(data):
        stamp_s = _STAMP.unpack_from(data, begin)[0] / 1e6
        body = begin + _STAMP.size
        end = body + _frame_length(data, body)
        if end == body or not _SANE_S[0] < stamp_s < _SANE_S[1] or end > len(data):
            if good:
                record.refuse("damaged message", f"no MAVLink at byte {begin}")
            begin, good = begin + 1, False
            continue
        yield stamp_s, bytearray(data[body:end])
        begin, good = end, True


def _frame_length(data: bytes, at: int) -> int:
    """Bytes of the frame that begins here, by its header; 0 where none begins."""
    if data[at] == _V1:
        return 8 + data[at + 1]
    if data[at] == _V2:
        return 12 + data[at + 1] + (13 if data[at + 2] & _SIGNED else 0)
    return 0


def read_dataflash(path: Path, record: FlightRecord) -> None:
    """Fills `record`, on the GPS's UTC as the log tells it. Raises SourceError, MissingExtra, OSError.

    Reads POS (the estimator's position) and ATT, and MNT for the camera where there is a gimbal.
    """
    try:
        from pymavlink.DFReader import DFReader_binary
    except ModuleNotFoundError as error:
        raise MissingExtra("pymavlink", extra="mavlink") from error
    if path.stat().st_size == 0:  # pymavlink maps the file, which fails obscurely
        raise SourceError(f"{path}: the file is empty, 0 bytes (copy it again from its origin)")

    class Log(DFReader_binary):  # type: ignore[misc]
        def init_arrays_fast(self, progress_callback: Any = None) -> None:
            # The one in C prints past sys.stderr, and saves a second of a hundred megabytes.
            self.init_arrays(progress_callback)

    said = _Said()
    try:
        with said.instead_of_output():
            log = Log(str(path))
        try:
            while (message := _next_logged(log, said)) is not None:
                _take_logged(message, record)
        finally:
            log.close()
    except OSError:
        raise
    except Exception as error:  # pymavlink raises whatever it stumbles over, a bare Exception included
        raise SourceError(f"{path}: not a dataflash log that can be read: {error!r}") from error
    if said.lines:
        record.refuse("damaged message", f"{path}: {said.first}; {said.lines} such places")


class _Said(io.TextIOBase):
    """What pymavlink prints of damage, a line a byte: counted, and the first line kept."""

    def __init__(self) -> None:
        self.first = ""
        self.lines = 0

    def write(self, text: str) -> int:
        self.first = self.first or text.strip()
        self.lines += text.count("\n")
        return len(text)

    @contextmanager
    def instead_of_output(self) -> Iterator[None]:
        """Nothing else may print meanwhile: standard output is a command's result."""
        with redirect_stdout(self), redirect_stderr(self):
            yield


def _next_logged(log: Any, said: _Said) -> Any:
    with said.instead_of_output():
        return log.recv_match(type=["POS", "ATT", "MNT"])


def _take_logged(message: Any, record: FlightRecord) -> None:
    kind, moment_s = message.get_type(), message._timestamp
    if kind == "POS":
        place = Position(message.Lat, message.Lng, message.RelHomeAlt, message.Alt)
        record.add_position(moment_s, place)
    elif kind == "ATT":
        record.add_body(moment_s, from_angles(message.Yaw, message.Pitch, message.Roll))
    else:
        _take_logged_mount(message, moment_s, record)


def _take_logged_mount(message: Any, moment_s: float, record: FlightRecord) -> None:
    """MNT of ArduPilot 4.4 and later: where the first mount points, yaw from north where it tells that."""
    if getattr(message, "I", 0) != 0:
        return
    record.add_camera(moment_s, from_angles(message.YE, message.P, message.R))
