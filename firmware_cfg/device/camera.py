"""The `camera` section of a device file: what the lens sees, and how the camera sits on the drone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from firmware_cfg.base import ConfigModel, between
from firmware_cfg.problems import Finding, raise_findings, stated

_LENS_MEND = "hfov_deg: 69, or focal_mm and sensor_width_mm, or matrix"


class CameraMatrix(ConfigModel):
    """A calibration's pinhole parameters, in pixels of pictures of `size`."""

    fx: Annotated[float, between(1, 1e6)] = Field(description="Focal length along the rows, pixels.")
    fy: Annotated[float, between(1, 1e6)] = Field(description="Focal length along the columns, pixels.")
    cx: Annotated[float, between(0, 1e5)] = Field(description="Principal point from the left edge, pixels.")
    cy: Annotated[float, between(0, 1e5)] = Field(description="Principal point from the upper edge, pixels.")
    size: tuple[PositiveInt, PositiveInt] = Field(
        description="Width and height of the calibration pictures; video of another shape is cut evenly out"
        " of them."
    )


class Distortion(ConfigModel):
    """The Brown-Conrady model, as OpenCV's calibration gives it."""

    k1: Annotated[float, between(-10, 10)] = Field(0.0, description="Radial, of the radius squared.")
    k2: Annotated[float, between(-10, 10)] = Field(0.0, description="Radial, of its fourth power.")
    p1: Annotated[float, between(-1, 1)] = Field(0.0, description="Tangential.")
    p2: Annotated[float, between(-1, 1)] = Field(0.0, description="Tangential.")


class Camera(ConfigModel):
    """A pinhole camera, its lens distortion, and its mount."""

    hfov_deg: Annotated[float, between(1, 170)] | None = Field(
        None, description="Horizontal field of view of the video, degrees (video is often cropped: measure)."
    )
    focal_mm: Annotated[float, between(0.1, 2000)] | None = Field(
        None, description="Focal length; with a 35 mm equivalent, sensor_width_mm is 36."
    )
    sensor_width_mm: Annotated[float, between(0.5, 100)] | None = Field(
        None, description="Width of the part of the sensor that the video shows."
    )
    matrix: CameraMatrix | None = Field(None, description="What a calibration gave.")
    distortion: Distortion = Field(Distortion(), description="Of the lens; default: none.")
    gimbal: Literal["telemetry", "stabilised", "fixed"] = Field(
        "telemetry",
        description="telemetry: it tells the camera's own attitude; stabilised: pitch_deg and roll_deg are"
        " held against the horizon and yaw follows the drone; fixed: the camera turns with the drone.",
    )
    yaw_deg: Annotated[float, between(-180, 180)] = Field(
        0.0, description="Stabilised or fixed: clockwise from the drone's nose."
    )
    pitch_deg: Annotated[float, between(-90, 30)] = Field(
        -90.0, description="Stabilised or fixed: 0 looks ahead, -90 straight down."
    )
    roll_deg: Annotated[float, between(-180, 180)] = Field(
        0.0, description="Stabilised or fixed: clockwise as the camera sees itself."
    )

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Camera:
        found = []
        if (self.focal_mm is None) != (self.sensor_width_mm is None):
            given, missing = ("focal_mm", "sensor_width_mm")[:: 1 if self.focal_mm is not None else -1]
            found.append(Finding((given,), stated(f"{given} needs {missing} beside it")))
        elif sum(way is not None for way in (self.hfov_deg, self.focal_mm, self.matrix)) != 1:
            found.append(Finding((), stated("camera must say what its lens sees in one way", _LENS_MEND)))
        if self.gimbal == "telemetry":
            for name in ("yaw_deg", "pitch_deg", "roll_deg"):
                if name in self.model_fields_set:
                    problem = f"{name} is told by telemetry"
                    found.append(Finding((name,), stated(problem, "or write gimbal: stabilised or fixed")))
        raise_findings("Camera", found)
        return self
