"""What came against what an uninterrupted run of the same frames sends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

BROKEN_OFF = ("restart", "stopped", "prompts changed")
"""Reasons of a clear that says nothing about the scene; the alert is raised again if it still holds."""
_ZONE = re.compile(r"count in (\w+)")
_VOLATILE = ("sent_at", "historical")


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """A raise or clear of the rule of one zone."""

    frame: int
    zone: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} {self.zone}@{self.frame}"


@dataclass(slots=True)
class Verdict:
    """How the received steps differ from the expected ones; `problems` are for a reader."""

    expected: int = 0
    received: int = 0
    lost: int = 0
    doubled: int = 0
    copies: int = 0
    resumed_pairs: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    step: Step
    reason: str


def steps_of(events: Iterable[dict[str, Any]]) -> list[Step]:
    """The steps of a run, each event once, in the order of their first arrival."""
    return [found.step for found in _found(events, [])]


def judge(expected: Sequence[Step], deliveries: Sequence[dict[str, Any]], *, breaks: bool) -> Verdict:
    """Compare.

    Args:
        expected: of the uninterrupted run.
        deliveries: event bodies as they arrived, repeated ones too.
        breaks: the fault may end alerts with a reason of BROKEN_OFF and raise them again: such pairs are
            counted, and taken out before the comparison.
    """
    verdict = Verdict(expected=len(expected))
    ids = [event["event_id"] for event in deliveries]
    verdict.copies = len(ids) - len(set(ids))
    verdict.problems += _changed_copies(deliveries)
    verdict.problems += _disorder(deliveries)
    found = _found(deliveries, verdict.problems)
    wanted = set(expected)
    steps = [each.step for each in (_without_pairs(found, wanted, verdict) if breaks else found)]
    verdict.received = len(wanted & set(steps))
    lost = sorted(wanted - set(steps))
    extra = sorted(set(steps) - wanted)
    twice = sorted({step for step in steps if steps.count(step) > 1})
    verdict.lost, verdict.doubled = len(lost), len(extra) + len(twice)
    for name, group in (("lost", lost), ("not expected", extra), ("told twice", twice)):
        if group:
            more = f" and {len(group) - 6} more" if len(group) > 6 else ""
            verdict.problems.append(f"{name}: {', '.join(map(str, group[:6]))}{more}")
    return verdict


def _found(events: Iterable[dict[str, Any]], problems: list[str]) -> list[_Found]:
    seen: set[str] = set()
    zones: dict[str, str] = {}
    found: list[_Found] = []
    events = [event for event in events if event["msg_type"] != "update"]
    for event in events:
        if (match := _ZONE.search(event["reason"])) is not None:
            zones[event["alert_id"]] = match.group(1)
    for event in events:
        if event["event_id"] in seen:
            continue
        seen.add(event["event_id"])
        zone = zones.get(event["alert_id"])
        if zone is None:
            problems.append(f"alert {event['alert_id']} was cleared but never raised")
            continue
        found.append(_Found(Step(event["frame"], zone, event["msg_type"]), event["reason"]))
    return found


def _without_pairs(found: Sequence[_Found], wanted: set[Step], verdict: Verdict) -> list[_Found]:
    """Take out each clear of BROKEN_OFF with the raise that follows it, where the scene had not changed.

    Where it had (the run broke off at the very frame of a clear), that clear stands for the true one.
    """
    kept: list[_Found] = []
    for zone in sorted({each.step.zone for each in found}):
        truth = sorted(step for step in wanted if step.zone == zone)
        broken = False
        for each in (one for one in found if one.step.zone == zone):
            if each.step.kind == "clear" and each.reason in BROKEN_OFF:
                broken = True
            elif each.step.kind == "raise" and broken and _again(each.step, wanted, kept):
                verdict.resumed_pairs += 1
                broken = False
            else:
                if broken:  # the next raise is a new one: the clear was true, if late
                    kept += _true_clear(truth, each.step)
                broken = False
                kept.append(each)
        if broken:
            kept += _true_clear(truth, None)
    return kept


def _again(step: Step, wanted: set[Step], kept: Sequence[_Found]) -> bool:
    """Whether this raise goes on with an alert that was broken off, rather than being a new one."""
    return step not in wanted or any(each.step == step for each in kept)


def _true_clear(truth: Sequence[Step], before: Step | None) -> list[_Found]:
    """The clear that the scene itself made last before step `before`."""
    clears = [step for step in truth if step.kind == "clear" and (before is None or step < before)]
    return [_Found(clears[-1], "")] if clears else []


def _changed_copies(deliveries: Sequence[dict[str, Any]]) -> list[str]:
    """One event_id must mean one content."""
    first: dict[str, dict[str, Any]] = {}
    problems = []
    for event in deliveries:
        fixed = {key: value for key, value in event.items() if key not in _VOLATILE}
        if first.setdefault(event["event_id"], fixed) != fixed:
            problems.append(f"event {event['event_id']} came with two contents")
    return problems


def _disorder(deliveries: Sequence[dict[str, Any]]) -> list[str]:
    """Within one alert, whatever the connection did: first its raise, last its clear.

    An event that was asked for again comes after later ones; consumers sort by `seq`.
    """
    problems = []
    boots = list(dict.fromkeys(event["boot_id"] for event in deliveries))  # an outbox that was lost: seq anew
    alerts: dict[str, set[tuple[int, int, str]]] = {}
    for event in deliveries:
        place = (boots.index(event["boot_id"]), event["seq"], event["msg_type"])
        alerts.setdefault(event["alert_id"], set()).add(place)
    for alert_id, told in alerts.items():
        kinds = [kind for _, _, kind in sorted(told)]
        if kinds[0] != "raise" or "raise" in kinds[1:] or "clear" in kinds[:-1]:
            problems.append(f"alert {alert_id} goes {' '.join(kinds)}")
    return problems
