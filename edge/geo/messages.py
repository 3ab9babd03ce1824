"""Places and poses as messages have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from firmware_cfg.messages.events import Point, Pose

if TYPE_CHECKING:
    from edge.geo.pose import Pose as CameraPose


def told_point(point: Point | None) -> Point | None:
    """To the centimetre, and a radius to the decimetre above: more digits would only fill the radio link."""
    if point is None:
        return None
    longitude, latitude, h_acc_m = point
    return round(longitude, 7), round(latitude, 7), math.ceil(h_acc_m * 10) / 10


def told_pose(pose: CameraPose) -> Pose:
    """To the centimetre and the hundredth of a degree."""
    return Pose(
        latitude=round(pose.latitude, 7),
        longitude=round(pose.longitude, 7),
        altitude_m=None if pose.altitude_m is None else round(pose.altitude_m, 2),
        height_m=round(pose.height_m, 2),
        yaw_deg=round(pose.yaw_deg, 2) % 360,
        pitch_deg=round(pose.pitch_deg, 2),
        roll_deg=round(pose.roll_deg, 2),
    )
