"""What an alert is between its raise and its clear: its steps, and what a restart needs to go on with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import ValidationError

from edge.kernel_boot import kernel_boot_id
from firmware_cfg.messages import Alert
from firmware_cfg.messages.base import MessagePart
from firmware_cfg.rules import Term

if TYPE_CHECKING:
    from edge.tracking import TrackedPlace
    from firmware_cfg.prompt_list import AlertRule, Prompt

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["raise", "update", "clear"]
Severity: TypeAlias = Literal["info", "warning", "critical"]
Certainty: TypeAlias = Literal["observed", "likely", "possible"]
CountKind: TypeAlias = Literal["count", "unique", "score", "count_in", "crossing"]
Box: TypeAlias = tuple[float, float, float, float]
Point: TypeAlias = tuple[float, float, float]
"""Longitude and latitude in degrees, WGS 84, and the radius in metres that holds the true place with 95%."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in an alert's life; raise, updates and clear of one alert share its `alert_id`.

    rule_index  position in the prompt's `alerts`
    value       of `term`
    term        the first term of the clause that raised the alert
    score, raw  of the best place that the rule looks at, or of the scene: calibrated 0..1, and before that
    threshold   in force, on the calibrated score; None where nobody gave one
    certainty   possible: the score is below the prompt's review_below; observed: the best place is a
                confirmed track; likely: everything else
    boxes       x1, y1, x2, y2 in pixels of the frame, best first, at most MAX_BOXES
    track_ids   in the order of the boxes
    reason      the rule that held, or why the alert was closed
    points      where on the ground, in the order of the boxes; None for a box that shows none; empty without
                telemetry
    """

    kind: Kind
    alert_id: str
    prompt_id: str
    rule_index: int
    severity: Severity
    value: float
    term: Term
    score: float
    raw: float
    threshold: float | None
    certainty: Certainty
    boxes: tuple[Box, ...]
    track_ids: tuple[int, ...]
    reason: str
    points: tuple[Point | None, ...] = ()

    @property
    def count_kind(self) -> CountKind:
        """Which quantity `value` is."""
        return self.term.kind


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """A raised alert that another run of the daemon left, and the rule that raised it (`rule_identity`)."""

    rule: str
    latest: Transition


def rule_identity(prompt: Prompt, rule: AlertRule) -> str:
    """Equal for two rules exactly when an alert of the one may go on as an alert of the other.

    Thresholds do not count: who tunes one does not end the alerts that it concerns.
    """
    return json.dumps(
        [
            *(prompt.id, prompt.kind, prompt.text, str(rule.when_rule), str(rule.clear_rule)),
            *(rule.for_, rule.cooldown, rule.severity, rule.zones),
        ]
    )


def certainty_of(prompt: Prompt, score: float, concerned: Sequence[TrackedPlace]) -> Certainty:
    """What `Transition.certainty` says of these places, best first."""
    evidence = prompt.kind == "scene" or bool(concerned)  # `count < 1` raises on the lack of any
    if evidence and prompt.review_below is not None and score < prompt.review_below:
        return "possible"
    return "observed" if concerned and concerned[0].confirmed else "likely"


class KeptAlert(MessagePart):
    """An active alert as the outbox keeps it, written together with each of its events.

    A file of an earlier version has the alert alone, which cannot go on, but is cleared with its facts.
    """

    alert: Alert
    rule: str | None = None
    term: Term | None = None
    kernel_boot: str | None = None

    def to_state(self) -> str:
        """As `Outbox.keep_alert` takes it."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_state(cls, state: str) -> KeptAlert:
        """Reads what `to_state` wrote, in this or the first version. Raises ValueError for anything else."""
        try:
            return cls.model_validate_json(state, strict=True, by_alias=True, by_name=False)
        except ValidationError:
            return cls(alert=Alert.from_payload(state))


def resumable(
    kept: Mapping[str, str], *, device: str, kernel_boot: str | None = None
) -> tuple[ActiveAlert, ...]:
    """Those of `Outbox.kept_alerts()` that may go on: of this device, and of this life of the machine.

    After a reboot nobody knows how long the drone was blind, or where it is now: those alerts are cleared.
    """
    kernel_boot = kernel_boot or kernel_boot_id()
    return tuple(_active(kept.values(), device, kernel_boot)) if kernel_boot else ()


def _active(states: Iterable[str], device: str, kernel_boot: str) -> Iterable[ActiveAlert]:
    for state in states:
        try:
            kept = KeptAlert.from_state(state)
        except ValueError:
            continue  # the reporter removes it, and says so
        if kept.kernel_boot == kernel_boot and kept.alert.device == device and kept.rule and kept.term:
            yield ActiveAlert(kept.rule, _transition(kept.alert, kept.term))


def _transition(alert: Alert, term: Term) -> Transition:
    width, height = alert.frame_size
    return Transition(
        kind="update",
        alert_id=alert.alert_id,
        prompt_id=alert.prompt,
        rule_index=0,  # where the rule stands now is for the machine to find
        severity=alert.severity,
        value=alert.count,
        term=term,
        score=alert.score,
        raw=alert.raw_score,
        threshold=alert.threshold,
        certainty=alert.certainty,
        boxes=tuple((x1 * width, y1 * height, x2 * width, y2 * height) for x1, y1, x2, y2 in alert.boxes),
        track_ids=alert.track_ids,
        reason=alert.reason,
        points=alert.points,
    )
