"""What telemetry said so far, and the camera's pose at any moment of it; what cannot be true is refused."""

from __future__ import annotations

import logging
import math
from collections import Counter
from operator import itemgetter
from threading import Lock
from typing import TYPE_CHECKING

from edge.geo.attitude import Quaternion, angle_between, from_angles, multiply, slerp, to_angles
from edge.geo.pose import Pose, PoseAccuracy
from edge.telemetry.position import SHORTEST_S, Place, Position, go_on
from edge.telemetry.series import Series

if TYPE_CHECKING:
    from firmware_cfg.device.camera import Camera
    from firmware_cfg.device.telemetry import Telemetry

log = logging.getLogger(__name__)

_BELIEVED_AFTER = 5
"""So many positions that fit one another, far from the last good one, are where the drone really is."""
_SPEED_OVER_S = 1.0
"""Going on as before is by the samples of so long: the noise of two next to each other looks like speed."""
_TURN_RATE = 20.0
"""Degrees a second by which the attitude may turn since its newest sample."""


class FlightRecord:
    """Samples in, poses out. Times are seconds on the telemetry's clock, which only has to be one clock.

    Any thread may add and any may ask. `refused` counts by cause the samples that could not be true, and the
    frames of which nothing can be said; each cause is logged once in a while.

    Args:
        settings: how good the sensors are, and what is believed.
        camera: how the camera sits on the drone.
        keep: samples of each kind that are held; None: all.
    """

    def __init__(self, settings: Telemetry, camera: Camera, *, keep: int | None = None) -> None:
        self._settings = settings
        self._gimbal = camera.gimbal
        self._mount = (camera.yaw_deg, camera.pitch_deg, camera.roll_deg)
        self._positions: Series[Position] = Series(keep)
        self._bodies: Series[Quaternion] = Series(keep)
        self._cameras: Series[Quaternion] = Series(keep)
        self._doubted: list[tuple[float, Position]] = []
        self._lock = Lock()
        self.refused: Counter[str] = Counter()

    def add_position(self, time_s: float, position: Position) -> None:
        """Takes a position in, unless it cannot be true."""
        with self._lock:
            cause = position.implausible() if math.isfinite(time_s) else "not a number"
            if cause is not None:
                self._refuse(cause, f"{position} at {time_s:.3f} s")
                return
            if len(self._positions) and not self._reachable(self._positions.last, (time_s, position)):
                if not self._moved_for_good(time_s, position):
                    self._refuse("jump", f"{position} is too far from the last position")
                    return
                log.warning("telemetry: the drone is where %d positions in a row say", _BELIEVED_AFTER)
                self._positions.clear()
            self._doubted.clear()
            if not self._positions.add(time_s, position):
                self._refuse("not in order", f"a position of {time_s:.3f} s came late")

    def add_body(self, time_s: float, attitude: Quaternion) -> None:
        """Takes the drone's attitude in."""
        self._add_attitude(self._bodies, time_s, attitude)

    def add_camera(self, time_s: float, attitude: Quaternion) -> None:
        """Takes the camera's own attitude in, as a gimbal tells it; yaw from north."""
        self._add_attitude(self._cameras, time_s, attitude)

    def body_at(self, time_s: float) -> Quaternion | None:
        """The drone's attitude; None where it is not known. Nothing is counted."""
        with self._lock:
            found = self._attitude(self._bodies, time_s)
        return None if isinstance(found, str) else found[0]

    def refuse(self, cause: str, detail: str) -> None:
        """Counts what a reader of telemetry could not use."""
        with self._lock:
            self._refuse(cause, detail)

    def lacks(self) -> str | None:
        """What a whole recording would need for a pose and does not have, in words; None when nothing."""
        gimbal = self._gimbal == "telemetry"
        if not len(self._positions):
            return "has no credible position"
        if not len(self._cameras if gimbal else self._bodies):
            return (
                "tells no attitude of the camera (write under camera gimbal: stabilised or fixed)"
                if gimbal
                else "tells no attitude of the drone"
                + (" (write under camera gimbal: telemetry)" if len(self._cameras) else "")
            )
        return None

    def pose_at(self, time_s: float) -> Pose | None:
        """The camera at a moment on the telemetry's clock; None, counted, where nothing credible is known."""
        with self._lock:
            pose = self._pose(time_s)
            if isinstance(pose, str):
                self._refuse(pose, f"no pose at {time_s:.3f} s{self._span()}")
                return None
            return pose

    def _pose(self, time_s: float) -> Pose | str:
        place = self._place(time_s)
        if isinstance(place, str):
            return place
        position = place.position
        turned = self._attitude(self._cameras if self._gimbal == "telemetry" else self._bodies, time_s)
        if isinstance(turned, str):
            return turned
        attitude, rate, unsure_deg = turned
        if self._gimbal != "telemetry":
            attitude = self._mounted(attitude)
        stated, ground = self._settings.accuracy, self._settings.ground_msl_m
        height, above = (position.relative_m, 0.0) if ground is None else (position.altitude_m, ground)
        if height is None:
            return "no height"
        height -= above
        if height <= 0:
            return "not above the ground"
        turn = math.hypot(rate * stated.time, unsure_deg)
        yaw, pitch, roll = to_angles(attitude)
        return Pose(
            latitude=position.latitude,
            longitude=position.longitude,
            height_m=height,
            yaw_deg=yaw,
            pitch_deg=pitch,
            roll_deg=roll,
            accuracy=PoseAccuracy(
                horizontal_m=math.hypot(
                    max(stated.horizontal_m, position.h_acc_m) * place.growth,
                    place.speed_mps * stated.time,
                    place.drift_m,
                ),
                height_m=math.hypot(stated.height_m * place.growth, place.drift_m),
                heading_deg=math.hypot(stated.heading_deg, turn),
                tilt_deg=math.hypot(stated.tilt_deg, turn),
            ),
            altitude_m=position.altitude_m,
        )

    def _place(self, time_s: float) -> Place | str:
        around = self._positions.around(time_s)
        if around is None:
            return "no position"
        (start_s, start), (end_s, end) = around
        if (cause := self._gap(time_s, start_s, end_s)) is not None:
            return cause
        if time_s > end_s:
            before = min(around[0], self._positions.since(end_s - _SPEED_OVER_S), key=itemgetter(0))
            return go_on(before, around[1], time_s, self._settings.max_speed_mps)
        if end_s - start_s < SHORTEST_S:
            return Place(end, 0.0)
        share = (time_s - start_s) / (end_s - start_s)
        return Place(start.towards(end, share), start.metres_to(end) / (end_s - start_s))

    def _attitude(self, series: Series[Quaternion], time_s: float) -> tuple[Quaternion, float, float] | str:
        """Attitude, its rate in degrees a second, and what holding the last one may be wrong by, degrees."""
        around = series.around(time_s)
        if around is None:
            return "no attitude"
        (start_s, start), (end_s, end) = around
        if (cause := self._gap(time_s, start_s, end_s)) is not None:
            return cause
        if end_s <= start_s or time_s > end_s:  # it swings too much to be carried on
            return end, 0.0, _TURN_RATE * (time_s - end_s)
        share = (time_s - start_s) / (end_s - start_s)
        return slerp(start, end, share), angle_between(start, end) / (end_s - start_s), 0.0

    def _gap(self, time_s: float, start_s: float, end_s: float) -> str | None:
        longest = self._settings.max_gap
        if time_s > end_s + longest:
            return "telemetry is silent"
        # A sample of the very moment needs no neighbour.
        return "gap" if end_s - start_s > longest and time_s not in (start_s, end_s) else None

    def _mounted(self, body: Quaternion) -> Quaternion:
        yaw, pitch, roll = self._mount
        if self._gimbal == "stabilised":
            return from_angles(to_angles(body)[0] + yaw, pitch, roll)
        return multiply(body, from_angles(yaw, pitch, roll))

    def _add_attitude(self, series: Series[Quaternion], time_s: float, attitude: Quaternion) -> None:
        with self._lock:
            size = math.sqrt(sum(part * part for part in attitude))
            if not (math.isfinite(time_s) and math.isfinite(size)):
                self._refuse("not a number", f"attitude {attitude}")
            elif not 0.9 < size < 1.1:
                self._refuse("out of range", f"attitude {attitude} is no rotation")
            elif not series.add(time_s, _scaled(attitude, 1 / size)):
                self._refuse("not in order", f"an attitude of {time_s:.3f} s came late")

    def _reachable(self, before: tuple[float, Position], now: tuple[float, Position]) -> bool:
        (then_s, then), (now_s, there) = before, now
        return then.reaches(there, self._settings.max_speed_mps * abs(now_s - then_s))

    def _moved_for_good(self, time_s: float, position: Position) -> bool:
        """One wild position is an error; many that agree say that the one before them was it."""
        if self._doubted and not self._reachable(self._doubted[-1], (time_s, position)):
            self._doubted.clear()
        self._doubted.append((time_s, position))
        return len(self._doubted) >= _BELIEVED_AFTER

    def _refuse(self, cause: str, detail: str) -> None:
        self.refused[cause] += 1
        if (count := self.refused[cause]) <= 3 or count % 100 == 0:
            log.warning("telemetry refused: %s (%s); %d so far", cause, detail, count)

    def _span(self) -> str:
        if not len(self._positions):
            return ", no position so far"
        return f"; there are positions from {self._positions.first_s:.3f} to {self._positions.last[0]:.3f} s"


def _scaled(attitude: Quaternion, factor: float) -> Quaternion:
    w, x, y, z = attitude
    return w * factor, x * factor, y * factor, z * factor
