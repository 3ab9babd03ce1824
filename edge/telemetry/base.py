"""What every source of telemetry is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.frames import Frame
    from edge.geo.pose import Pose
    from edge.telemetry.record import FlightRecord


class Telemetry(ABC):
    """Tells the camera's pose when a frame was captured. A context manager, or `close` it."""

    def __init__(self, record: FlightRecord, clock_offset_s: float = 0.0) -> None:
        self.record = record
        self._offset_s = clock_offset_s

    @property
    def refused(self) -> Counter[str]:
        """By cause: samples that could not be true, and frames of which nothing credible was known."""
        return self.record.refused

    def pose_of(self, frame: Frame) -> Pose | None:
        """The pose at the frame's capture; None, counted in `refused`, where it is not known."""
        moment_s = self._moment_s(frame)
        if moment_s is None:
            self.record.refuse("unknown frame", f"there is no telemetry for {frame.name}")
            return None
        return self.record.pose_at(moment_s + self._offset_s)

    @abstractmethod
    def _moment_s(self, frame: Frame) -> float | None:
        """The frame's capture on the record's clock, before the stated offset; None for a strange frame."""

    def close(self) -> None:  # noqa: B027 - a recording holds nothing open
        """Gives back what it holds; may be called more than once."""

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ByUtc(Telemetry):
    """A recording whose clock tells the time of day, as the frames' `captured_at` does."""

    def _moment_s(self, frame: Frame) -> float:
        return frame.captured_at.timestamp()


class ByVideoTime(Telemetry):
    """A recording that begins with its video."""

    def _moment_s(self, frame: Frame) -> float:
        return frame.time_s


class ByName(Telemetry):
    """A recording that knows its frames by their file names."""

    def __init__(self, record: FlightRecord, moments_s: dict[str, float]) -> None:
        super().__init__(record)
        self._moments_s = moments_s

    def _moment_s(self, frame: Frame) -> float | None:
        return self._moments_s.get(frame.name)
