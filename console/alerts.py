"""One alert as the control room sees it: its steps in one line, and what operators did about it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from firmware_cfg.messages import Alert, AlertAct, Event
from firmware_cfg.messages.ack import Handling, handling, merged
from firmware_cfg.messages.base import Box
from firmware_cfg.messages.events import AlertFacts, GeoPoint, Point, Pose

MOST_STEPS = 50
"""Steps that a line shows, the newest; the history has the others."""

StepKind = Literal["raise", "update", "clear", "vanished"]
AlertKey = tuple[str, str]
"""Device and alert id."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of an alert; `vanished` is said by nobody: the broker has it no more, nobody knows why."""

    msg_type: StepKind
    observed_at: datetime
    count: float
    score: float
    historical: bool


@dataclass(slots=True)
class FoldedAlert:
    """Raise, updates and clear in one line. Changed by ControlRoom alone.

    Attributes:
        facts: the newest step that is known, by its capture time.
        raised_at: capture time of the frame that raised it, by the drone's clock; the earliest that is known.
        heard_at: when this room heard of it first, by its own clock.
        ended_at: when it ended, by the drone's clock; None while it is active.
        ended_by: "clear", or "vanished" where the broker has it no more and nobody said why.
        historical: all that is known of it came late: no news of this moment.
        queued: all that is known of it waited at the broker while this room was away; a retained copy says
            that it goes on.
        ring: which ring of the board's it was, the latest highest.
        rings: active, news, of a drone that is there, and neither acknowledged nor muted.
        confirmed: told since the broker was last connected.
        evidence_boxes: of the raise, which its picture shows; empty where the raise is not known.
        kept_acts: what the drone has kept with the alert.
    """

    device: str
    alert_id: str
    facts: AlertFacts
    raised_at: datetime
    heard_at: datetime
    historical: bool
    queued: bool = False
    version: int = 0
    ring: int = 0
    ended_at: datetime | None = None
    ended_by: StepKind | None = None
    steps: int = 0
    events: deque[Step] = field(default_factory=lambda: deque(maxlen=MOST_STEPS))
    evidence_boxes: tuple[Box, ...] = ()
    acts: tuple[AlertAct, ...] = ()
    kept_acts: tuple[AlertAct, ...] = ()
    rings: bool = False
    confirmed: bool = True
    handling: Handling = field(default_factory=Handling)

    @property
    def key(self) -> AlertKey:
        """Device and alert id."""
        return self.device, self.alert_id

    @property
    def active(self) -> bool:
        """Whether it is raised and not cleared, as far as is known."""
        return self.ended_at is None

    @property
    def untold(self) -> tuple[AlertAct, ...]:
        """Acts that the drone does not know of."""
        if merged(self.kept_acts, self.acts) == self.kept_acts:
            return ()  # what it dropped for want of room it need not be told again
        return tuple(act for act in self.acts if act not in self.kept_acts)

    def take(self, facts: AlertFacts, *, queued: bool = False) -> None:
        """Take in an event that was not known, or the retained copy. `queued`: it waited at the broker."""
        self.queued = self.queued and queued
        # A backlog fills in what was: it must not turn an alert of now into one of then. Nor does a drone
        # that keeps a comment with an old alert, and retains it anew, make it one of now.
        if not (isinstance(facts, Alert) and facts.event_id == self.facts.event_id):
            self.historical = self.historical and facts.historical
        if isinstance(facts, Alert):
            self.raised_at = min(self.raised_at, facts.raised_at)
            self.kept_acts = facts.acts
            self.do(facts.acts)
        elif isinstance(facts, Event):
            self.steps += 1
            self.events.append(
                Step(facts.msg_type, facts.observed_at, facts.count, facts.score, facts.historical or queued)
            )
            if facts.msg_type == "raise":
                self.raised_at = min(self.raised_at, facts.observed_at)
                self.evidence_boxes = facts.boxes
            if facts.msg_type == "clear":
                self.ended_at, self.ended_by = facts.observed_at, "clear"
        if _newer(facts, self.facts):
            self.facts = facts

    def do(self, acts: tuple[AlertAct, ...]) -> bool:
        """Take in what operators did; tells whether any of it was news."""
        together = merged(self.acts, acts)
        if together == self.acts:
            return False
        self.acts, self.handling = together, handling(together)
        return True

    def vanish(self, at: datetime) -> None:
        """The broker has it no more, and nobody heard its clear."""
        self.ended_at, self.ended_by = at, "vanished"
        self.events.append(Step("vanished", at, self.facts.count, self.facts.score, False))

    def revive(self) -> None:
        """The broker has it after all; a clear that was heard stands."""
        if self.ended_by == "vanished":
            self.ended_at = self.ended_by = None

    # What the page shows of the newest facts.

    @property
    def severity(self) -> Literal["info", "warning", "critical"]:
        return self.facts.severity

    @property
    def certainty(self) -> Literal["observed", "likely", "possible"]:
        """possible: below the prompt's `review_below`, a person should look."""
        return self.facts.certainty

    @property
    def prompt(self) -> str:
        return self.facts.prompt

    @property
    def prompt_text(self) -> tuple[str, ...]:
        return self.facts.prompt_text

    @property
    def count(self) -> float:
        return self.facts.count

    @property
    def count_kind(self) -> str:
        return self.facts.count_kind

    @property
    def score(self) -> float:
        return self.facts.score

    @property
    def threshold(self) -> float | None:
        return self.facts.threshold

    @property
    def reason(self) -> str:
        return self.facts.reason

    @property
    def updated_at(self) -> datetime:
        return self.facts.observed_at

    @property
    def cleared_at(self) -> datetime | None:
        return self.ended_at

    @property
    def position(self) -> GeoPoint | None:
        return self.facts.position

    @property
    def h_acc_m(self) -> float | None:
        return self.facts.h_acc_m

    @property
    def points(self) -> tuple[Point | None, ...]:
        return self.facts.points

    @property
    def pose(self) -> Pose | None:
        return self.facts.pose

    @property
    def boxes(self) -> tuple[Box, ...]:
        return self.facts.boxes

    @property
    def frame_size(self) -> tuple[int, int]:
        return self.facts.frame_size

    @property
    def evidence_sha256(self) -> str | None:
        return self.facts.evidence_sha256

    @property
    def acknowledged_by(self) -> str | None:
        return self.handling.acknowledged_by

    @property
    def acknowledged_at(self) -> datetime | None:
        return self.handling.acknowledged_at

    @property
    def muted_until(self) -> datetime | None:
        return self.handling.muted_until

    @property
    def comments(self) -> tuple[tuple[datetime, str, str], ...]:
        """When, by whom, what."""
        return self.handling.comments


def _newer(facts: AlertFacts, known: AlertFacts) -> bool:
    """By `seq`, which rises under one boot id; across boots by the clock, and a clear is the last."""
    if facts.boot_id == known.boot_id:
        return facts.seq >= known.seq
    if isinstance(known, Event) and known.msg_type == "clear":
        return False
    return facts.seq >= known.seq or facts.observed_at > known.observed_at
