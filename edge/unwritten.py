"""What frames brought and nobody has written yet: in order, and bounded while the disk takes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.alerts.state import Transition
    from edge.counting import FrameCounts
    from edge.events import FrameFacts
    from edge.frames import Image

MOST_UPDATES = 500
"""Updates of alerts in line beyond which those go that a later step of their alert makes old."""


@dataclass(slots=True)
class Step:
    """What one frame brought, to be written. `image` is there until pictures of its raises were made."""

    transitions: Sequence[Transition]
    frame: FrameFacts
    image: Image | None
    pictures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewList:
    """From this frame on another prompt list is in force; `gone` are the prompts that it has not."""

    counts: FrameCounts
    frame: FrameFacts
    gone: frozenset[str]


class Unwritten:
    """The line from the frame loop to the thread that writes. Thread-safe.

    Every raise and clear stays, and the newest step of every alert.

    Attributes:
        left_out: updates that went, since the start.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._lock = Lock()
        self._line: deque[Step | NewList] = deque()
        self._updates = 0
        self._bound = MOST_UPDATES

    @property
    def waiting(self) -> int:
        """Raises, updates and clears in line."""
        return sum(len(step.transitions) for step in self.steps())

    def put(self, step: Step | NewList) -> None:
        """Last in line."""
        with self._lock:
            self._line.append(step)
            self._updates += _updates(step)
            if self._updates > self._bound:
                self._thin()
                self._bound = max(MOST_UPDATES, 2 * self._updates)  # so that few steps pay for a look at all

    def first(self) -> Step | NewList | None:
        """Who is next, and stays first in line until `first_done`."""
        with self._lock:
            return self._line[0] if self._line else None

    def first_done(self) -> None:
        """It is written."""
        with self._lock:
            self._updates -= _updates(self._line.popleft())

    def steps(self) -> list[Step]:
        """All in line but new lists."""
        with self._lock:
            return [step for step in self._line if isinstance(step, Step)]

    def _thin(self) -> None:
        first = self._line.popleft()  # is perhaps being written just now
        before, self._updates = self._updates, _updates(first)
        followed: set[str] = set()
        kept: deque[Step | NewList] = deque()
        for step in reversed(self._line):
            if isinstance(step, Step):
                step.transitions = [
                    t for t in step.transitions if t.kind != "update" or t.alert_id not in followed
                ]
                followed.update(transition.alert_id for transition in step.transitions)
                if not step.transitions:
                    continue
            kept.appendleft(step)
            self._updates += _updates(step)
        self._line = kept
        self._line.appendleft(first)
        self.left_out += before - self._updates


def _updates(step: Step | NewList) -> int:
    return sum(t.kind == "update" for t in step.transitions) if isinstance(step, Step) else 0
