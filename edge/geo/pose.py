"""The camera's place and attitude at one moment, with how well each is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoseAccuracy:
    """One standard deviation of each part of a pose, what the clocks' disagreement adds included.

    horizontal_m  of the position to the north, and of that to the east
    height_m      of the height above ground
    heading_deg   of the attitude about the vertical
    tilt_deg      of the attitude about each horizontal axis
    """

    horizontal_m: float
    height_m: float
    heading_deg: float
    tilt_deg: float


@dataclass(frozen=True, slots=True)
class Pose:
    """The camera at the moment of capture.

    latitude, longitude  degrees, WGS 84
    height_m             above the ground under it, which counts as flat
    yaw_deg              of the camera, clockwise from north; straight down: of the picture's upper edge
    pitch_deg            of the camera: 0 looks at the horizon, -90 straight down
    roll_deg             of the camera, clockwise as it sees itself
    altitude_m           above mean sea level, where it is known
    """

    latitude: float
    longitude: float
    height_m: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    accuracy: PoseAccuracy
    altitude_m: float | None = None
