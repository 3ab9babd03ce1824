"""What the demo's subscriber makes of messages: doubles dropped, foreign ones ignored."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from edge.demo.heard import Heard, sentence
from firmware_cfg.messages import Event

EVENT: dict[str, Any] = {
    "schema": 1,
    "device": "demo",
    "sent_at": "2026-05-01T12:00:01Z",
    "alert_id": "a1b2c3d4e5",
    "event_id": "e1",
    "msg_type": "raise",
    "severity": "warning",
    "urgency": "immediate",
    "certainty": "observed",
    "seq": 1,
    "boot_id": "b1",
    "observed_at": "2026-05-01T12:00:00Z",
    "mono_ns": 1,
    "clock_synced": True,
    "frame": 4,
    "prompt": "tree",
    "prompt_text": ["a tree"],
    "prompt_list_sha256": "a" * 64,
    "bundle_sha256": "b" * 64,
    "precision": "fp32",
    "score": 0.7,
    "raw_score": 1.0,
    "threshold": 0.5,
    "count": 12,
    "count_kind": "count_in",
    "frame_size": [100, 100],
    "reason": "count in field >= 3",
}
TOPIC = "remoteclip/1/demo/events"


def payload(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


def test_each_event_is_taken_once() -> None:
    events: list[Event] = []
    heard = Heard(events.append)
    heard(TOPIC, payload(), False)
    heard(TOPIC, payload(), False)
    heard(TOPIC, payload(event_id="e2", seq=2, msg_type="update"), False)
    heard(TOPIC, payload(event_id="e3", seq=3, msg_type="clear"), False)
    heard(TOPIC, payload(event_id="e4", seq=4, alert_id="other"), False)
    assert [event.event_id for event in events] == ["e1", "e2", "e3", "e4"]
    assert (heard.events, heard.raised, heard.cleared) == (4, 2, 1)


def test_the_goodbye_is_the_status_stopped() -> None:
    heard = Heard(lambda event: None)
    status = {
        "schema": 1,
        "device": "demo",
        "sent_at": "2026-05-01T12:00:00Z",
        "session_id": "s",
        "session_started_at": "2026-05-01T11:00:00Z",
        "boot_id": "b",
    }
    for state in ("online", "offline"):
        heard("remoteclip/1/demo/status", json.dumps({**status, "state": state}).encode(), False)
    assert not heard.wait_for_goodbye(0)
    heard("remoteclip/1/demo/status", json.dumps({**status, "state": "stopped"}).encode(), False)
    assert heard.wait_for_goodbye(0)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"{}", payload(severity="huge"), payload(extra=1)])
def test_a_foreign_message_is_logged_and_left_alone(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard(lambda event: pytest.fail("was taken for an event"))
    with caplog.at_level(logging.WARNING):
        heard(TOPIC, body, False)
    assert "not a Event message" in caplog.text or "not an Event message" in caplog.text


def test_other_topics_and_emptied_alerts_are_nothing_to_it(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard(lambda event: pytest.fail("was taken for an event"))
    with caplog.at_level(logging.WARNING):
        heard("weather/today", b"sunny", False)
        heard("remoteclip/1/demo/alerts/a1", b"", True)
        heard("remoteclip/1/demo/counts/tree", b"{}", True)
    assert caplog.text == ""


def test_a_sentence_says_it_in_one_line() -> None:
    line = sentence(Event.from_payload(payload()))
    why = "(count in field >= 3) alert a1b2c3d4"
    assert line == f"12:00:00 RAISE  warning  tree: count in 12, score 0.70, observed {why}"
