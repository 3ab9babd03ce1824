"""Messages as they cross the broker."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from firmware_cfg.messages import (
    Alert,
    Counts,
    Event,
    GeoPoint,
    Health,
    LatencyMs,
    Message,
    PromptInUse,
    PromptsAck,
    PromptsProblem,
    PromptsState,
    Status,
)
from firmware_cfg.messages.counts import Crossings

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
HASH = "0123456789abcdef" * 4


def make_event(**changes: Any) -> Event:
    facts: dict[str, Any] = {
        "device": "drone-1",
        "sent_at": NOON,
        "alert_id": "a1",
        "event_id": "e1",
        "msg_type": "raise",
        "severity": "warning",
        "urgency": "immediate",
        "certainty": "likely",
        "seq": 3,
        "boot_id": "b1",
        "observed_at": NOON,
        "mono_ns": 5,
        "clock_synced": True,
        "frame": 12,
        "prompt": "boat",
        "prompt_text": ("a boat on the water",),
        "prompt_list_sha256": HASH,
        "bundle_sha256": HASH,
        "precision": "fp32",
        "score": 0.71,
        "raw_score": -1.25,
        "threshold": 0.4,
        "count": 2,
        "count_kind": "count",
        "frame_size": (1280, 720),
        "boxes": ((0.1, 0.2, 0.3, 0.4),),
        "track_ids": (7,),
        "position": GeoPoint(coordinates=(11.5, 48.1)),
        "h_acc_m": 4.0,
    }
    return Event(**{**facts, **changes})


ALL_MESSAGES: list[Message] = [
    Status(
        device="drone-1", sent_at=NOON, state="online", session_id="s1", session_started_at=NOON, boot_id="b1"
    ),
    Counts(
        device="drone-1",
        sent_at=NOON,
        prompt="boat",
        observed_at=NOON,
        frame=1,
        count=2,
        score=0.5,
        zones={"gate": 1},
        crossings={"road": Crossings(in_=3, out=1)},
    ),
    make_event(),
    Alert.from_event(make_event(), raised_at=NOON),
    PromptsState(
        device="drone-1",
        sent_at=NOON,
        sha256=HASH,
        applied_at=NOON,
        source="file",
        prompts=(
            PromptInUse(
                id="boat", kind="object", text=("a boat",), threshold=0.4, threshold_from="null_bank"
            ),
        ),
    ),
    PromptsAck(
        device="drone-1",
        sent_at=NOON,
        applied=False,
        received_sha256=HASH,
        sha256=HASH,
        errors=(PromptsProblem(line=7, column=15, problem="threshold must be between 0 and 1"),),
    ),
    Health(
        device="drone-1",
        sent_at=NOON,
        uptime_s=10,
        frames=100,
        fps=9.5,
        latency_ms=LatencyMs(p50=20, p95=30, p99=40),
        engine="openvino",
        precision="fp32",
        bundle_sha256=HASH,
        native=True,
        clock_synced=False,
    ),
]


@pytest.mark.parametrize("message", ALL_MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: Message) -> None:
    payload = message.to_payload()
    assert type(message).from_payload(payload) == message
    body = json.loads(payload)
    assert body["schema"] == 1
    assert body["sent_at"] == "2026-05-01T12:00:00Z"


@pytest.mark.parametrize("message", ALL_MESSAGES, ids=lambda message: type(message).__name__)
def test_an_unknown_field_is_refused(message: Message) -> None:
    body = {**json.loads(message.to_payload()), "extra": 1}
    with pytest.raises(ValueError, match=rf"not an? {type(message).__name__} message: extra: "):
        type(message).from_payload(json.dumps(body))


@pytest.mark.parametrize("message", ALL_MESSAGES, ids=lambda message: type(message).__name__)
def test_every_field_says_what_it_is(message: Message) -> None:
    names = {"p50", "p95", "p99", "type"}
    assert not [n for n, f in type(message).model_fields.items() if not f.description and n not in names]


def test_times_are_written_in_utc() -> None:
    summer = datetime(2026, 5, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(make_event(observed_at=summer).to_payload())["observed_at"] == "2026-05-01T12:00:00Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        make_event(observed_at=datetime(2026, 5, 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alert_id", "a/b"),
        ("prompt", "#"),
        ("score", 1.5),
        ("raw_score", float("nan")),
        ("seq", -1),
        ("boxes", ((0.1, 0.2, 0.3, 1.4),)),
        ("frame_size", (0, 720)),
        ("bundle_sha256", "abc"),
        ("msg_type", "raised"),
        ("position", {"type": "Point", "coordinates": (200, 0)}),
    ],
)
def test_values_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        make_event(**{field: value})


def test_the_retained_alert_carries_the_facts_of_its_latest_event() -> None:
    event = make_event(msg_type="update", event_id="e2", count=5, observed_at=NOON + timedelta(seconds=3))
    alert = Alert.from_event(event, raised_at=NOON)
    assert (alert.alert_id, alert.event_id, alert.count) == ("a1", "e2", 5)
    assert (alert.raised_at, alert.observed_at) == (NOON, NOON + timedelta(seconds=3))
    assert "msg_type" not in json.loads(alert.to_payload())


def test_crossings_are_called_in_and_out() -> None:
    counts = next(m for m in ALL_MESSAGES if isinstance(m, Counts))
    assert json.loads(counts.to_payload())["crossings"] == {"road": {"in": 3, "out": 1}}


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: json.dumps({"device": text}).encode()))
def test_any_payload_is_a_message_or_one_line(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a Status message") as caught:
        Status.from_payload(payload)
    assert "\n" not in str(caught.value)


def test_a_slip_is_named_in_english() -> None:
    for model, name in ((Event, "an Event"), (Status, "a Status")):
        with pytest.raises(ValueError, match=f"^not {name} message: "):
            model.from_payload(b"{}")
