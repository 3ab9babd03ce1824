"""Whether a device file's camera can be reached, before the flight."""

from __future__ import annotations

from edge.sources import CameraOptions, is_camera, open_source
from firmware_cfg.device.source import Source
from firmware_cfg.errors import SourceError


def camera_problem(source: Source) -> str | None:
    """Takes one frame of the camera; returns what is wrong, one line with its mend, or None.

    None, too, for a recording: whether it is there the device file's own check says. Takes some seconds.
    """
    try:
        if is_camera(source.uri):
            with open_source(source.uri, camera=CameraOptions.from_config(source, patient=False)) as camera:
                if next(iter(camera), None) is None:
                    return f"{camera.name}: the camera ended the stream before its first picture"
    except SourceError as error:
        return str(error)
    return None
