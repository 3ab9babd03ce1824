"""MAVLink messages of one drone -> its flight record; the same for a live link and for a recording."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edge.geo.attitude import Quaternion, from_angles, from_radians, multiply, to_angles
from edge.telemetry.boot_clock import BootClock
from edge.telemetry.position import Position
from firmware_cfg.errors import MissingExtra

if TYPE_CHECKING:
    from edge.telemetry.record import FlightRecord

_FIX_3D = 3
_UNKNOWN_ACCURACY_MM = (0, 0xFFFFFFFF)
_YAW_LOCK, _YAW_OF_VEHICLE, _YAW_OF_EARTH = 16, 32, 64  # GIMBAL_DEVICE_FLAGS


def new_parser() -> Any:
    """pymavlink's parser of bytes in MAVLink 1 and 2. Raises MissingExtra."""
    try:
        from pymavlink.dialects.v20 import ardupilotmega
    except ModuleNotFoundError as error:
        raise MissingExtra("pymavlink", extra="mavlink") from error
    parser = ardupilotmega.MAVLink(None)
    parser.robust_parsing = True  # a damaged frame becomes BAD_DATA, and the next is found
    return parser


class MavlinkMessages:
    """Takes messages in one after another. Positions and attitudes of other drones on the link are ignored.

    Args:
        record: what is filled, on the clock of the arrival times.
        system_id: this drone's; None: that of the first position.
    """

    def __init__(self, record: FlightRecord, system_id: int | None = None) -> None:
        self._record = record
        self._system_id = system_id
        self._clocks: dict[int, BootClock] = {}  # by component: each has its own
        self._h_acc_m = 0.0
        self._fix: int | None = None

    def take(self, message: Any, arrived_s: float) -> None:
        """Uses the message where it tells of the position or an attitude."""
        kind = message.get_type()
        if kind == "BAD_DATA":
            self._record.refuse("damaged message", str(message.reason))
            return
        reader = _READERS.get(kind)
        if reader is None:
            return
        if self._system_id is None and kind in ("GPS_RAW_INT", "GLOBAL_POSITION_INT"):
            self._system_id = message.get_srcSystem()
        if message.get_srcSystem() == self._system_id:
            reader(self, message, arrived_s)

    def _sent_s(self, message: Any, arrived_s: float) -> float:
        clock = self._clocks.setdefault(message.get_srcComponent(), BootClock())
        return clock.sent_at(message.time_boot_ms / 1000, arrived_s)

    def _take_fix(self, message: Any, arrived_s: float) -> None:
        self._fix = message.fix_type
        known = message.h_acc not in _UNKNOWN_ACCURACY_MM
        self._h_acc_m = message.h_acc / 1000 if known else 0.0

    def _take_position(self, message: Any, arrived_s: float) -> None:
        sent_s = self._sent_s(message, arrived_s)
        if self._fix is not None and self._fix < _FIX_3D:
            self._record.refuse("no fix", f"the receiver's fix is of type {self._fix}")
            return
        place = Position(
            message.lat / 1e7,
            message.lon / 1e7,
            message.relative_alt / 1000,
            message.alt / 1000,
            self._h_acc_m,
        )
        self._record.add_position(sent_s, place)

    def _take_body(self, message: Any, arrived_s: float) -> None:
        attitude = from_radians(message.yaw, message.pitch, message.roll)
        self._record.add_body(self._sent_s(message, arrived_s), attitude)

    def _take_gimbal(self, message: Any, arrived_s: float) -> None:
        sent_s, flags = self._sent_s(message, arrived_s), message.flags
        w, x, y, z = message.q
        of_earth = flags & _YAW_OF_EARTH or (not flags & _YAW_OF_VEHICLE and flags & _YAW_LOCK)
        self._add_camera(sent_s, (w, x, y, z), of_vehicle=not of_earth)

    def _take_mount_status(self, message: Any, arrived_s: float) -> None:
        pitch, roll, yaw = (
            angle / 100 for angle in (message.pointing_a, message.pointing_b, message.pointing_c)
        )
        self._add_camera(arrived_s, from_angles(yaw, pitch, roll), of_vehicle=True)

    def _take_mount_orientation(self, message: Any, arrived_s: float) -> None:
        sent_s = self._sent_s(message, arrived_s)
        yaw, of_vehicle = message.yaw_absolute, False
        if math.isnan(yaw):
            yaw, of_vehicle = message.yaw, True
        self._add_camera(sent_s, from_angles(yaw, message.pitch, message.roll), of_vehicle=of_vehicle)

    def _add_camera(self, sent_s: float, attitude: Quaternion, *, of_vehicle: bool) -> None:
        """Pitch and roll are against the horizon; a yaw from the nose waits for the drone's own."""
        if of_vehicle:
            body = self._record.body_at(sent_s)
            if body is None:
                self._record.refuse("no attitude", "a gimbal's yaw is told from an unknown heading")
                return
            attitude = multiply(from_angles(to_angles(body)[0], 0.0, 0.0), attitude)
        self._record.add_camera(sent_s, attitude)


_READERS = {
    "GPS_RAW_INT": MavlinkMessages._take_fix,
    "GLOBAL_POSITION_INT": MavlinkMessages._take_position,
    "ATTITUDE": MavlinkMessages._take_body,
    "GIMBAL_DEVICE_ATTITUDE_STATUS": MavlinkMessages._take_gimbal,
    "MOUNT_STATUS": MavlinkMessages._take_mount_status,
    "MOUNT_ORIENTATION": MavlinkMessages._take_mount_orientation,
}
