"""What the demo came to: our counts beside the truth, where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge.demo.flight import Flight, Truth
from edge.pipeline import FrameResult

TREE = "tree"
"""The prompt that the orthophoto's true boxes are about."""


@dataclass(frozen=True, slots=True)
class FrameError:
    """Means over the frames: places that we counted, objects truly there, and the absolute difference."""

    counted: float
    truth: float
    absolute_error: float


class Scoreboard:
    """Holds every frame's count against the truth of the flight. Without a flight there is no truth."""

    def __init__(self, flight: Flight | None) -> None:
        self._truth = Truth(flight) if flight is not None else None
        self._frames = 0
        self._counted = 0
        self._true = 0
        self._error = 0

    def take(self, result: FrameResult) -> None:
        """Compare one frame, if the list looks for trees."""
        trees = result.counts.prompts.get(TREE)
        if self._truth is None or trees is None:
            return
        self._truth.fly_over(result.frame.number)
        self._frames += 1
        self._counted += trees.count
        self._true += self._truth.in_frame
        self._error += abs(trees.count - self._truth.in_frame)

    @property
    def in_frame(self) -> int | None:
        """Objects truly in the last frame."""
        return self._truth.in_frame if self._truth is not None and self._frames else None

    @property
    def unique(self) -> int | None:
        """Objects truly flown over so far."""
        return self._truth.unique if self._truth is not None and self._frames else None

    @property
    def per_frame(self) -> FrameError | None:
        """The comparison frame by frame."""
        if not self._frames:
            return None
        means = (self._counted / self._frames, self._true / self._frames, self._error / self._frames)
        return FrameError(*(round(mean, 2) for mean in means))


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The summary, as the last line of `remoteclip demo --json`.

    count            different objects that we counted: trees where there is a truth, else all object prompts
    truth            different trees truly flown over; None where nobody knows
    counts           different objects by prompt
    per_frame        trees frame by frame
    alerts_received  alerts whose raise the subscriber received; alerts_cleared: whose clear it received
    """

    source: str
    frames: int
    seconds: float
    fps: float
    captured_s: float
    alerts_received: int
    alerts_cleared: int
    events_received: int
    count: int
    truth: int | None
    counts: Mapping[str, int]
    per_frame: FrameError | None
    skipped: Mapping[str, int]
    broker: str
    video: str | None
    contact_sheet: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"{self.frames} frames of {self.source} in {self.seconds:.1f} s: {self.fps:.1f} frames a second"
        ]
        if self.truth is not None:
            lines.append(f"trees: {self.count} counted, {self.truth} truly flown over")
        else:
            lines += [f"{name}: {number} different" for name, number in self.counts.items()]
        if self.per_frame is not None:
            means = self.per_frame
            lines.append(
                f"in a frame, on average: {means.counted:.1f} counted, {means.truth:.1f} there, "
                f"off by {means.absolute_error:.1f}"
            )
        if self.skipped:
            lines.append("skipped: " + ", ".join(f"{count} {cause}" for cause, count in self.skipped.items()))
        lines.append(
            f"through {self.broker} a subscriber received {self.events_received} events: "
            f"{self.alerts_received} alerts raised, {self.alerts_cleared} cleared"
        )
        lines += [path for path in (self.video, self.contact_sheet) if path is not None]
        return lines
