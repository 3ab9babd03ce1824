"""Attitudes as unit quaternions: no angle wraps, and nothing is singular when a camera looks straight down.

A quaternion (w, x, y, z) turns vectors of the body (forward, right, down) into north, east, down; angles are
yaw, pitch, roll as aerospace counts them (first yaw about down, then pitch about right, then roll about
forward), degrees.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Quaternion: TypeAlias = tuple[float, float, float, float]

_NEARLY_VERTICAL = 1.0 - 1e-10  # |sin(pitch)|: beyond it yaw and roll turn about the same axis


def from_angles(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Quaternion:
    """The attitude with these angles in degrees."""
    return from_radians(*(math.radians(angle) for angle in (yaw_deg, pitch_deg, roll_deg)))


def from_radians(yaw: float, pitch: float, roll: float) -> Quaternion:
    """The attitude with these angles in radians; NaN throughout where one is not a finite number."""
    if not all(map(math.isfinite, (yaw, pitch, roll))):
        return math.nan, math.nan, math.nan, math.nan
    yaw, pitch, roll = yaw / 2, pitch / 2, roll / 2
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    return (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )


def to_angles(attitude: Quaternion) -> tuple[float, float, float]:
    """Yaw (0 to 360), pitch (-90 to 90) and roll (-180 to 180); straight up or down roll is 0."""
    w, x, y, z = attitude
    sine = max(-1.0, min(1.0, 2 * (w * y - z * x)))
    if abs(sine) > _NEARLY_VERTICAL:
        yaw = -2 * math.copysign(1, sine) * math.atan2(x, w)
        return math.degrees(yaw) % 360.0, math.copysign(90.0, sine), 0.0
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    return math.degrees(yaw) % 360.0, math.degrees(math.asin(sine)), math.degrees(roll)


def multiply(outer: Quaternion, inner: Quaternion) -> Quaternion:
    """`inner` first, then `outer`: the attitude of a camera whose attitude on the drone is `inner`."""
    a, b, c, d = outer
    w, x, y, z = inner
    return (
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    )


def slerp(start: Quaternion, end: Quaternion, share: float) -> Quaternion:
    """From `start` (share 0) to `end` (1) at an even rate, the shorter way round."""
    cosine = sum(a * b for a, b in zip(start, end, strict=True))
    if cosine < 0:
        cosine, end = -cosine, (-end[0], -end[1], -end[2], -end[3])
    angle = math.acos(min(1.0, cosine))
    if angle < 1e-6:  # the sines would cancel out, and the straight line is as good
        first, second = 1 - share, share
    else:
        first, second = (math.sin(part * angle) / math.sin(angle) for part in (1 - share, share))
    w, x, y, z = (first * a + second * b for a, b in zip(start, end, strict=True))
    size = math.sqrt(w * w + x * x + y * y + z * z)
    return w / size, x / size, y / size, z / size


def angle_between(start: Quaternion, end: Quaternion) -> float:
    """Degrees from one attitude to the other, 0 to 180."""
    return math.degrees(2 * math.acos(min(1.0, abs(sum(a * b for a, b in zip(start, end, strict=True))))))


def rotation(attitude: Quaternion) -> NDArray[np.float64]:
    """(3, 3) float64 matrix that turns (forward, right, down) into (north, east, down)."""
    w, x, y, z = attitude
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
