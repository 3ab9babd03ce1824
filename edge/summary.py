"""What a run of the daemon came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.alerts.machine import Transition
    from edge.pipeline import FrameResult


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The numbers of a whole run.

    seconds     wall time of the frame loop
    captured_s  capture time that it covered
    unique      different objects, by object prompt
    skipped     unreadable frames, by cause
    dropped     frames left out because the model was too slow
    raised      alerts raised
    unsent      messages that wait for the next start
    """

    frames: int
    seconds: float
    captured_s: float
    unique: Mapping[str, int]
    skipped: Mapping[str, int]
    dropped: int
    raised: int
    unsent: int = 0

    @property
    def fps(self) -> float:
        """Frames per second of the frame loop."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


class RunTally:
    """What a run has come to so far. `latest` may be read from other threads."""

    def __init__(self) -> None:
        self.latest: FrameResult | None = None
        self.frames = 0
        self.captured_s = 0.0
        self.raised = 0
        self._unique: dict[str, int] = {}
        self._first_s: float | None = None

    def take(self, result: FrameResult, transitions: Sequence[Transition]) -> None:
        """Count one frame."""
        self.latest = result
        self.frames += 1
        self._first_s = result.frame.time_s if self._first_s is None else self._first_s
        self.captured_s = result.frame.time_s - self._first_s
        self.raised += sum(transition.kind == "raise" for transition in transitions)
        for name in result.bank.layout.object_ids:
            before = self._unique.get(name, 0) if result.independent else 0
            self._unique[name] = before + result.counts.prompts[name].unique

    def summary(self, seconds: float, skipped: Mapping[str, int], dropped: int) -> RunSummary:
        """The numbers now, `seconds` of wall time after the first frame was asked for."""
        return RunSummary(
            self.frames, seconds, self.captured_s, dict(self._unique), dict(skipped), dropped, self.raised
        )
