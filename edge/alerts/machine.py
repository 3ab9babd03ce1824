"""Rules over counts -> raise, update and clear, with hold time, hysteresis and cooldown in capture time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge.alerts.state import ActiveAlert, Box, Kind, Point, Transition, certainty_of, rule_identity

if TYPE_CHECKING:
    from edge.counting import FrameCounts
    from edge.geo.ground import GroundPoints
    from edge.tracking import TrackedPlace
    from firmware_cfg.prompt_list import AlertRule, Prompt, PromptList
    from firmware_cfg.rules import Rule, Term

__all__ = ["MAX_BOXES", "AlertMachine", "Box", "Transition"]

UPDATE_INTERVAL_S = 1.0
"""An active alert whose value changes is reported at most this often."""
SCORE_STEP = 0.05
"""A score never stands still; smaller changes are not worth an update."""
MAX_BOXES = 100
"""Boxes in one transition, best first: an event has to pass through a thin radio link."""
_TIME_TOLERANCE_S = 1e-6  # thirty frames of 0.1 s are three seconds, whatever the sum of floats says


@dataclass(frozen=True, slots=True)
class _Active:
    """A raised alert: its latest transition, and when that was."""

    latest: Transition
    reported_s: float


@dataclass(slots=True)
class _Watch:
    """One rule of one prompt, and how things stand with it."""

    prompt: Prompt
    index: int
    rule: AlertRule
    held_since_s: float | None = None
    quiet_until_s: float = 0.0
    active: _Active | None = None

    @property
    def identity(self) -> str:
        return rule_identity(self.prompt, self.rule)


class AlertMachine:
    """Turns the counts of one frame after another into transitions. Not thread-safe, but for `active`.

    Time that runs backwards (another recording) stands still, so no hold or cooldown is cut short.

    Args:
        thresholds: those in force, by prompt id; without one the list's own is reported.
        resume: alerts of an earlier run: where the list still has the rule, `active` starts with the alert,
            whose next step is an update or its clear. The others are for the caller to end.
        new_id: makes alert ids.
    """

    def __init__(
        self,
        prompt_list: PromptList,
        *,
        thresholds: Mapping[str, float] | None = None,
        resume: Sequence[ActiveAlert] = (),
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._thresholds = dict(thresholds or {})
        self._new_id = new_id
        self._watches = _watches(prompt_list)
        self._now_s = 0.0
        self._time_s: float | None = None
        self._points: dict[int, Point | None] = {}
        for alert in resume:
            for watch in self._watches:
                # By the prompt first: what a rule is takes longer to write down.
                if (
                    watch.prompt.id == alert.latest.prompt_id
                    and watch.active is None
                    and watch.identity == alert.rule
                ):
                    watch.active = _Active(replace(alert.latest, rule_index=watch.index), self._now_s)
                    break

    @property
    def active(self) -> tuple[Transition, ...]:
        """The latest transition of every alert that is raised and not cleared."""
        # Read once: another thread may ask, while the frame loop ends the alert.
        return tuple(active.latest for watch in self._watches if (active := watch.active) is not None)

    def update(
        self,
        counts: FrameCounts,
        tracked: Sequence[TrackedPlace],
        time_s: float,
        ground: GroundPoints | None = None,
    ) -> list[Transition]:
        """What changes with the frame captured at `time_s`, in the order of the prompt list.

        `ground` tells where the tracked places are on the ground, in their order.
        """
        if self._time_s is not None:
            self._now_s += max(0.0, time_s - self._time_s)
        self._time_s = time_s
        self._points = {} if ground is None else dict(zip((t.track_id for t in tracked), ground, strict=True))
        found = (self._step(watch, counts, tracked) for watch in self._watches)
        return [transition for transition in found if transition is not None]

    def adopt(self, prompt_list: PromptList, thresholds: Mapping[str, float]) -> list[Transition]:
        """Another prompt list takes over, before the first frame that was counted with it.

        Rules that both lists have go on with their alerts, hold times and cooldowns. Returns the clears of
        the other alerts; they are about the old list's prompts.
        """
        under_way: dict[str, list[_Watch]] = {}
        for watch in self._watches:
            if (
                watch.active is not None
                or watch.held_since_s is not None
                or watch.quiet_until_s > self._now_s
            ):
                under_way.setdefault(watch.identity, []).append(watch)
        concerned = {watch.prompt.id for watches in under_way.values() for watch in watches}
        self._watches = _watches(prompt_list)
        self._thresholds = dict(thresholds)
        for watch in self._watches:
            if watch.prompt.id not in concerned or not (same := under_way.get(watch.identity)):
                continue
            before = same.pop(0)
            watch.held_since_s, watch.quiet_until_s = before.held_since_s, before.quiet_until_s
            if before.active is not None:
                latest = replace(before.active.latest, rule_index=watch.index)
                watch.active = replace(before.active, latest=latest)
        return [
            replace(watch.active.latest, kind="clear", reason="prompts changed")
            for left in under_way.values()
            for watch in left
            if watch.active is not None
        ]

    def close(self, reason: str) -> list[Transition]:
        """Clears every active alert, as when the daemon stops."""
        closed = [replace(latest, kind="clear", reason=reason) for latest in self.active]
        for watch in self._watches:
            watch.active = watch.held_since_s = None
        return closed

    def _step(self, watch: _Watch, counts: FrameCounts, tracked: Sequence[TrackedPlace]) -> Transition | None:
        def read(term: Term) -> float:
            return counts.value(watch.prompt.id, term, watch.rule.zones)

        when, clear = watch.rule.when_rule, watch.rule.clear_rule
        if watch.active is not None:
            return self._step_active(watch, watch.active, counts, tracked, cleared=clear.holds(read))
        # Over several terms `when` and `clear` may hold together: that must not raise and clear for ever.
        if not when.holds(read) or clear.holds(read):
            watch.held_since_s = None
            return None
        if watch.held_since_s is None:
            watch.held_since_s = self._now_s
        ripe_s = max(watch.held_since_s + watch.rule.for_, watch.quiet_until_s)
        if self._now_s < ripe_s - _TIME_TOLERANCE_S:
            return None
        term = _leading_term(when, read)
        raised = self._transition(watch, "raise", self._new_id(), term, counts, tracked)
        watch.active = _Active(raised, self._now_s)
        return raised

    def _step_active(
        self,
        watch: _Watch,
        active: _Active,
        counts: FrameCounts,
        tracked: Sequence[TrackedPlace],
        *,
        cleared: bool,
    ) -> Transition | None:
        latest = active.latest
        kind: Kind = "clear" if cleared else "update"
        now = self._transition(watch, kind, latest.alert_id, latest.term, counts, tracked)
        if cleared:
            watch.active = watch.held_since_s = None
            watch.quiet_until_s = self._now_s + watch.rule.cooldown
            # What is gone can no longer be judged: the certainty is that of the alert.
            return replace(now, certainty=latest.certainty)
        step = SCORE_STEP if now.count_kind == "score" else 0.0
        change = abs(now.value - latest.value)
        due_s = active.reported_s + UPDATE_INTERVAL_S - _TIME_TOLERANCE_S
        if change == 0 or change < step or self._now_s < due_s:
            return None
        watch.active = _Active(now, self._now_s)
        return now

    def _transition(
        self,
        watch: _Watch,
        kind: Kind,
        alert_id: str,
        term: Term,
        counts: FrameCounts,
        tracked: Sequence[TrackedPlace],
    ) -> Transition:
        prompt, rule = watch.prompt, watch.rule
        zones = (term.name,) if term.kind == "count_in" and term.name is not None else rule.zones
        concerned = sorted(
            (t for t in tracked if t.place.prompt == prompt.id and counts.inside(t.track_id, zones)),
            key=lambda t: -t.place.score,
        )
        if prompt.kind == "scene":
            score, raw = counts.prompts[prompt.id].score, counts.prompts[prompt.id].raw
        else:
            score, raw = (concerned[0].place.score, concerned[0].place.raw) if concerned else (0.0, 0.0)
        concerned = concerned[:MAX_BOXES]
        return Transition(
            kind=kind,
            alert_id=alert_id,
            prompt_id=prompt.id,
            rule_index=watch.index,
            severity=rule.severity,
            value=counts.value(prompt.id, term, rule.zones),
            term=term,
            score=score,
            raw=raw,
            threshold=self._thresholds.get(prompt.id, prompt.threshold),
            certainty=certainty_of(prompt, score, concerned),
            boxes=tuple(t.place.box for t in concerned),
            track_ids=tuple(t.track_id for t in concerned),
            reason=str(rule.clear_rule if kind == "clear" else rule.when_rule),
            points=tuple(self._points[t.track_id] for t in concerned) if self._points else (),
        )


def _watches(prompt_list: PromptList) -> list[_Watch]:
    return [
        _Watch(prompt, index, rule)
        for prompt in prompt_list.prompts
        for index, rule in enumerate(prompt.alerts)
    ]


def _leading_term(rule: Rule, read: Callable[[Term], float]) -> Term:
    """The first term of the first clause that holds: the one whose value is reported."""
    return next(clause[0].term for clause in rule.any_of if all(c.holds(read(c.term)) for c in clause))
