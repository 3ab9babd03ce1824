"""Settings of telemetry, and messages that an autopilot would send."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.frames import Frame, RgbImage
from edge.telemetry.record import FlightRecord
from firmware_cfg.device import Accuracy, Camera, Telemetry

NewRecord = Callable[..., FlightRecord]


@pytest.fixture
def new_record() -> NewRecord:
    """Makes a record: camera's fields by name, the rest goes into the telemetry section."""

    def make(camera: Camera | None = None, keep: int | None = None, **fields: object) -> FlightRecord:
        accuracy = Accuracy(horizontal_m=1.0, height_m=2.0, heading_deg=3.0, tilt_deg=1.0, time=0.1)
        settings = Telemetry.model_validate(
            {"uri": "mavlink:udpin:127.0.0.1:14550", "accuracy": accuracy, **fields}
        )
        return FlightRecord(settings, camera or Camera(hfov_deg=70, gimbal="fixed"), keep=keep)

    return make


@pytest.fixture
def frame_at() -> Callable[..., Frame]:
    """Makes a frame captured at a moment of each clock."""

    def make(*, utc_s: float = 0.0, time_s: float = 0.0, mono_s: float = 0.0, name: str = "a.mp4") -> Frame:
        image = RgbImage(np.zeros((2, 2, 3), np.uint8))
        captured_at = datetime.fromtimestamp(utc_s, timezone.utc)
        return Frame(image, 0, time_s, captured_at, round(mono_s * 1e9), name)

    return make
