"""Messages about what happened: fractions of the frame, thresholds in force, when they were sent."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import events
from edge.alerts.machine import Transition
from edge.counting import PromptCounts
from edge.events import HISTORICAL_AFTER_S, FrameFacts, Session
from edge.geo.pose import Pose, PoseAccuracy
from edge.outbox.outbox import QueuedMessage
from firmware_cfg.messages import Alert, Counts, Event, Status
from firmware_cfg.prompt_list import load_prompt_bytes
from firmware_cfg.rules import Term

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
LIST = load_prompt_bytes(
    b"prompts:\n"
    b"  - {id: car, text: [a car, a truck]}\n"
    b"  - {id: haze, kind: scene, text: haze, threshold: 0.2}\n",
    "list.yaml",
)
SESSION = Session("bird", "5e55", NOW, "b007", "a" * 64, "1.2.3")


def facts(size: tuple[int, int] = (200, 100)) -> FrameFacts:
    bank: Any = SimpleNamespace(
        prompt_list=LIST.model,
        list_sha256=LIST.sha256,
        thresholds={"car": 0.4, "haze": 0.2},
        source="mqtt",
    )
    return FrameFacts(7, NOW - timedelta(seconds=1), 123, size, "fp32", bank)


TRANSITION = Transition(
    kind="raise",
    alert_id="a1",
    prompt_id="car",
    rule_index=0,
    severity="warning",
    value=3.0,
    term=Term("count"),
    score=0.75,
    raw=1.5,
    threshold=None,
    certainty="observed",
    boxes=((20.0, 10.0, 50.0, 60.0), (-3.0, 0.0, 240.0, 100.0)),
    track_ids=(4, 5),
    reason="count >= 3",
)


def build(transition: Transition) -> Event:
    return events.event(SESSION, transition, facts(), event_id="e1", seq=9, now=NOW, clock_synced=True)


def test_an_event_says_what_was_seen_where_and_with_what() -> None:
    event = build(TRANSITION)
    assert Event.from_payload(event.to_payload()) == event
    assert event.boxes == ((0.1, 0.1, 0.25, 0.6), (0.0, 0.0, 1.0, 1.0))
    assert (event.frame, event.frame_size, event.mono_ns) == (7, (200, 100), 123)
    assert event.observed_at == NOW - timedelta(seconds=1)
    assert (event.prompt_text, event.prompt_list_sha256) == (("a car", "a truck"), LIST.sha256)
    assert (event.bundle_sha256, event.precision, event.boot_id) == ("a" * 64, "fp32", "b007")
    assert (event.msg_type, event.urgency) == ("raise", "immediate")


@pytest.mark.parametrize(("given_threshold", "expected"), [(None, 0.4), (0.6, 0.6)])
def test_the_threshold_in_force_is_told(given_threshold: float | None, expected: float) -> None:
    assert build(replace(TRANSITION, threshold=given_threshold)).threshold == expected


HERE = (8.123456789, 47.987654321, 4.56789)
POSE = Pose(47.98, 8.12, 61.23456, 359.999, -89.5, 0.0, PoseAccuracy(1.5, 2.0, 3.0, 1.0))


def test_an_event_tells_where_its_boxes_stand_and_the_best_of_them() -> None:
    frame = replace(facts(), pose=POSE)
    there = replace(TRANSITION, points=(None, HERE))
    event = events.event(SESSION, there, frame, event_id="e1", seq=9, now=NOW, clock_synced=True)
    assert Event.from_payload(event.to_payload()) == event
    assert event.points == (None, (8.1234568, 47.9876543, 4.6))
    assert json.loads(event.to_payload())["position"] == {
        "type": "Point",
        "coordinates": [8.1234568, 47.9876543],
    }
    assert event.h_acc_m == 4.6  # never told smaller than it is
    assert event.pose is not None
    assert (event.pose.height_m, event.pose.yaw_deg, event.pose.altitude_m) == (61.23, 0.0, None)
    alert = Alert.from_event(event, NOW)
    assert (alert.position, alert.points) == (event.position, event.points)


def test_without_telemetry_an_event_is_nowhere() -> None:
    event = build(TRANSITION)
    assert (event.position, event.h_acc_m, event.points, event.pose) == (None, None, (), None)


@pytest.mark.parametrize(
    "point", [(181.0, 0.0, 1.0), (0.0, 90.5, 1.0), (0.0, 0.0, -1.0), (math.nan, 0.0, 1.0)]
)
def test_no_event_holds_a_place_that_is_none(point: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        build(replace(TRANSITION, points=(None, point)))


def test_a_clear_is_past() -> None:
    assert build(replace(TRANSITION, kind="clear")).urgency == "past"


def test_an_alert_of_an_earlier_run_ends_with_its_own_facts() -> None:
    alert = Alert.from_event(build(TRANSITION), NOW)
    later = Session("bird", "0ther", NOW, "b008", "c" * 64, "1.2.4")
    now = NOW + timedelta(hours=1)
    event = events.clear_after_restart(
        later, alert, event_id="e2", seq=10, now=now, mono_ns=77, clock_synced=False
    )
    assert (event.alert_id, event.msg_type, event.reason, event.urgency) == ("a1", "clear", "restart", "past")
    assert (event.seq, event.boot_id, event.event_id) == (10, "b008", "e2")
    assert (event.boxes, event.bundle_sha256) == (alert.boxes, "a" * 64)
    assert (event.observed_at, event.mono_ns, event.clock_synced) == (now, 77, False)  # of another boot


def test_counts_carry_zones_and_both_ways_over_a_line() -> None:
    numbers = PromptCounts(
        count=2, unique=5, score=0.9, zones={"gate": 1}, crossings={("road", "in"): 3, ("road", "out"): 1}
    )
    counts = events.counts(SESSION, "car", numbers, facts(), NOW)
    assert Counts.from_payload(counts.to_payload()) == counts
    assert (counts.count, counts.unique, counts.threshold, counts.zones) == (2, 5, 0.4, {"gate": 1})
    assert (counts.crossings["road"].in_, counts.crossings["road"].out) == (3, 1)


def test_prompts_state_tells_where_each_threshold_comes_from() -> None:
    state = events.prompts_state(SESSION, facts().bank, NOW)
    assert state.source == "mqtt"
    assert [(p.id, p.kind, p.threshold, p.threshold_from) for p in state.prompts] == [
        ("car", "object", 0.4, "null_bank"),
        ("haze", "scene", 0.2, "list"),
    ]


def test_status_names_its_session() -> None:
    status = events.status(SESSION, "stopped", NOW, "SIGTERM")
    assert Status.from_payload(status.to_payload()) == status
    assert (status.session_id, status.boot_id, status.reason, status.software) == (
        "5e55",
        "b007",
        "SIGTERM",
        "1.2.3",
    )


def queued(payload: bytes, *, waited_s: float | None = 0.0, backlog: bool = True) -> QueuedMessage:
    return QueuedMessage(
        1, "t", payload, 1, False, "alert", "e1", 0.0, None, waited_s=waited_s, backlog=backlog
    )


@given(waited_s=st.none() | st.floats(0, 10 * HISTORICAL_AFTER_S), backlog=st.booleans())
def test_a_message_is_stamped_when_it_is_sent(waited_s: float | None, backlog: bool) -> None:
    message = queued(build(TRANSITION).to_payload(), waited_s=waited_s, backlog=backlog)
    sent = NOW + timedelta(days=-300)  # the wall clock was set back: nothing follows from that
    event = Event.from_payload(events.stamp(message, sent))
    assert event.sent_at == sent
    assert event.historical is (waited_s is None or (backlog and waited_s > HISTORICAL_AFTER_S))
    assert event.observed_at == NOW - timedelta(seconds=1)


def test_what_was_historical_once_stays_so() -> None:
    body = {**json.loads(build(TRANSITION).to_payload()), "historical": True}
    again = events.stamp(queued(json.dumps(body).encode()), NOW)
    assert Event.from_payload(again).historical is True


@pytest.mark.parametrize("payload", [b"", b"\xff\xd8\xff\xe0 a picture", b'{"device": {"name": "bird"}}'])
def test_what_bears_no_time_of_sending_stays_as_it_is(payload: bytes) -> None:
    assert events.stamp(queued(payload, waited_s=None), NOW) == payload


def test_counts_are_never_historical() -> None:
    late = NOW + timedelta(days=1)
    counts = events.counts(SESSION, "car", PromptCounts(), facts(), NOW)
    body = json.loads(events.stamp(queued(counts.to_payload(), waited_s=None), late))
    assert "historical" not in body
    assert Counts.from_payload(json.dumps(body)).sent_at == late
