"""A camera and its telemetry as they are written on a command line, for footage without a device file."""

from __future__ import annotations

import pydantic

from firmware_cfg.device.camera import Camera
from firmware_cfg.device.telemetry import Telemetry
from firmware_cfg.errors import UsageError

_KEYS = {
    "hfov": "hfov_deg",
    "focal": "focal_mm",
    "sensor_width": "sensor_width_mm",
    "yaw": "yaw_deg",
    "pitch": "pitch_deg",
    "roll": "roll_deg",
    "gimbal": "gimbal",
}


def camera_option(text: str) -> Camera:
    """`hfov=69`, `focal=24,sensor_width=36,gimbal=stabilised,pitch=-60`: the fields of a `camera` section.

    Raises UsageError.
    """
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in _KEYS:
            raise UsageError(f"--camera {text}: {part!r} is not KEY=VALUE with one of {', '.join(_KEYS)}")
        fields[_KEYS[key]] = value
    try:
        return Camera.model_validate(fields)
    except pydantic.ValidationError as error:
        raise UsageError(f"--camera {text}: {_first(error)}") from error


def telemetry_option(uri: str) -> Telemetry:
    """A recording or link, with the sensors of a common drone. Raises UsageError."""
    try:
        return Telemetry(uri=uri)
    except pydantic.ValidationError as error:
        raise UsageError(f"--telemetry {uri}: {_first(error)}") from error


def _first(error: pydantic.ValidationError) -> str:
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"])
    mend = problem.get("ctx", {}).get("mend")
    return f"{name} {problem['msg']}".strip() + (f" ({mend})" if mend else "")
