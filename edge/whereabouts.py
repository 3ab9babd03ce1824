"""Where a flight's frames are on Earth: the described camera, and the telemetry that tells its poses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import ExitStack

    from edge.frames import Frame
    from edge.geo.locate import Locator
    from edge.sources import FrameSource
    from edge.telemetry import Telemetry
    from firmware_cfg.device.camera import Camera
    from firmware_cfg.device.telemetry import Telemetry as TelemetrySection


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """`locator` is None where nothing describes the camera, `telemetry` where none was asked for."""

    locator: Locator | None
    telemetry: Telemetry | None

    def attach(self, frame: Frame) -> Frame:
        """The frame with the pose of its capture. A source that knows it, such as the demo, goes first."""
        if frame.pose is not None or self.telemetry is None:
            return frame
        return replace(frame, pose=self.telemetry.pose_of(frame))

    def refused(self) -> dict[str, int]:
        """By cause: telemetry that could not be true, and frames without any."""
        return {} if self.telemetry is None else dict(self.telemetry.refused)


def open_whereabouts(
    camera: Camera | None, telemetry: TelemetrySection | None, source: FrameSource, stack: ExitStack
) -> Whereabouts:
    """Open what the sections of a device file describe; `stack` closes it again.

    Raises SourceError, MissingExtra: see `open_telemetry`.
    """
    from edge.geo.camera import CameraModel
    from edge.geo.locate import MAX_H_ACC_M, Locator

    model = source.camera if camera is None else CameraModel.from_section(camera)
    if model is None:
        return Whereabouts(None, None)
    bound = MAX_H_ACC_M if telemetry is None else telemetry.max_h_acc_m
    locator = Locator(model, max_h_acc_m=bound)
    if camera is None or telemetry is None:
        return Whereabouts(locator, None)
    from edge.telemetry import open_telemetry

    return Whereabouts(locator, stack.enter_context(open_telemetry(telemetry, camera)))
