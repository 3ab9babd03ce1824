"""What the control room's terminal shows."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from rich.console import Console

from edge.fleet import FleetState
from edge.fleet_view import event_line, plain, render, status_line
from firmware_cfg.messages import Alert, Counts, Event, Health, Status
from firmware_cfg.messages.events import GeoPoint
from firmware_cfg.topics import Topics

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)
HEAD: dict[str, Any] = {"device": "kestrel-1", "sent_at": NOW}
TOPICS = Topics("kestrel-1")


def shown(
    state: FleetState, problem: str = "", now: datetime = NOW + timedelta(minutes=3), width: int = 180
) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render(state, now=now, problem=problem))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def fill(state: FleetState, *, reason: str = "count >= 5", retained: bool = False) -> None:
    status = Status(
        **HEAD, state="online", session_id="s1", session_started_at=NOW, boot_id="b1", reason=reason
    )
    event = Event(
        **HEAD,
        msg_type="raise",
        event_id="e1",
        alert_id="a1",
        severity="critical",
        seq=1,
        urgency="immediate",
        certainty="possible",
        boot_id="b1",
        observed_at=NOW,
        frame=3,
        mono_ns=1,
        clock_synced=True,
        prompt="boat",
        prompt_text=(reason,),
        score=0.7,
        prompt_list_sha256="0" * 64,
        bundle_sha256="1" * 64,
        precision="fp32",
        raw_score=3.0,
        threshold=0.4,
        count=5.0,
        count_kind="count",
        frame_size=(640, 480),
        reason=reason,
    )
    counts = Counts(**HEAD, prompt="boat", observed_at=NOW, frame=3, count=5, unique=17, score=0.71)
    scene = Counts(**HEAD, prompt="smoke", kind="scene", observed_at=NOW, frame=3, score=0.13)
    health = Health(
        **HEAD,
        uptime_s=9.0,
        frames=99,
        fps=12.34,
        engine="openvino",
        precision="fp32",
        bundle_sha256="1" * 64,
        native=True,
        clock_synced=True,
    )
    for topic, payload in [
        (TOPICS.status, status.to_payload()),
        (TOPICS.counts("boat"), counts.to_payload()),
        (TOPICS.counts("smoke"), scene.to_payload()),
        (TOPICS.health, health.to_payload()),
        (TOPICS.events, event.to_payload()),
        (TOPICS.alert("a1"), Alert.from_event(event, NOW).to_payload()),
    ]:
        assert state.apply(topic, payload, retained, at=NOW) is not None


def test_devices_counts_alerts_and_events_are_shown() -> None:
    state = FleetState()
    fill(state)
    screen = shown(state)
    for words in ["kestrel-1", "online", "12.3", "3 min", "boat", "17", "0.71", "smoke", "0.13"]:
        assert words in screen
    assert "Active alerts: 1" in screen
    (alert,) = [line for line in screen.splitlines() if "possible" in line]
    assert all(words in alert for words in ["critical", "boat", "5 count", "count >= 5"])
    assert "12:00:00 kestrel-1 raise critical boat 5 (count >= 5)" in screen


def told(**changes: Any) -> Event:
    state = FleetState()
    fill(state)
    return state.recent[0].model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        (
            {"count": 3.0, "count_kind": "count_in", "reason": "count in gate >= 3"},
            "boat 3 (count in gate >= 3)",
        ),
        ({"count": 0.00250641, "count_kind": "score", "reason": "restart"}, "boat 0.0025 (restart)"),
        ({"reason": ""}, "boat 5 (count)"),
        ({"historical": True}, "boat 5 (count >= 5) (late)"),
        (
            {"position": GeoPoint(coordinates=(7.45, 46.95)), "h_acc_m": 4.6},
            "boat 5 (count >= 5) at 46.95000, 7.45000 (±5 m)",
        ),
    ],
)
def test_an_event_is_told_with_its_number_and_why(changes: dict[str, Any], end: str) -> None:
    assert event_line(told(**changes)).plain.endswith(f" critical {end}")


def test_an_alert_with_a_position_says_where() -> None:
    state = FleetState()
    fill(state)
    placed = told(position=GeoPoint(coordinates=(7.45, 46.95)), h_acc_m=4.6)
    state.apply(TOPICS.alert("a1"), Alert.from_event(placed, NOW).to_payload(), False, at=NOW)
    assert "46.95000, 7.45000 (±5 m)" in shown(state)


def test_a_blind_drone_says_what_is_wrong_with_its_camera() -> None:
    state = FleetState()
    fill(state)
    health = state.devices["kestrel-1"].health
    assert health is not None
    blind = health.model_copy(update={"camera_problem": "the camera refused the password"})
    state.apply(TOPICS.health, blind.to_payload(), False, at=NOW)
    assert "online (the camera refused the password)" in " ".join(shown(state, width=240).split())


def test_a_lost_drone_shows_when_it_was_heard_and_its_alerts_as_stale() -> None:
    """Its last will, an hour later, is no sign of life, and gives no frames a second."""
    state = FleetState()
    fill(state)
    will = Status(**HEAD, state="offline", session_id="s1", session_started_at=NOW, boot_id="b1")
    hour = NOW + timedelta(hours=1)
    assert state.apply(TOPICS.status, will.to_payload(), False, at=hour) is not None
    screen = shown(state, now=hour + timedelta(minutes=1))
    (device,) = [line for line in screen.splitlines() if "offline" in line]
    assert "1 h 1 min" in device
    assert "12.3" not in screen
    (alert,) = [line for line in screen.splitlines() if "possible" in line]
    assert "0 s, stale" in alert


def test_a_lost_drone_of_which_only_retained_messages_came_was_heard_when_it_wrote_them() -> None:
    state = FleetState()
    fill(state, retained=True)
    will = Status(**HEAD, state="offline", session_id="s1", session_started_at=NOW, boot_id="b1")
    state.apply(TOPICS.status, will.to_payload(), True, at=NOW)
    (device,) = [line for line in shown(state).splitlines() if "offline" in line]
    assert "3 min" in device


def test_the_line_of_a_last_will_has_the_time_of_now() -> None:
    """What the will says itself is when the connection was made."""
    facts: dict[str, Any] = {**HEAD, "session_id": "s1", "session_started_at": NOW, "boot_id": "b1"}
    later = NOW + timedelta(hours=1)
    assert status_line(Status(**facts, state="offline"), later).startswith("13:00:00 kestrel-1 is offline")
    assert status_line(Status(**facts, state="stopped"), later).startswith("12:00:00 kestrel-1 is stopped")


def test_an_empty_fleet_and_a_missing_broker_say_so() -> None:
    screen = shown(FleetState(), problem="mqtt://127.0.0.1:1883: connection refused; trying again")
    assert "connection refused; trying again" in screen
    assert "waiting for a device" in screen
    assert "Active alerts: unknown, not connected" in screen
    assert "No active alerts" in shown(FleetState())
    state = FleetState()
    fill(state)
    assert "Active alerts: 1 when last connected" in shown(state, problem="the connection was lost")


def test_hostile_texts_are_shown_as_text() -> None:
    """Neither rich's markup, nor escape sequences, nor right-to-left overrides reach the terminal."""
    state = FleetState()
    fill(state, reason="[bold]x[/bold] \x1b[2J\x1b]0;owned\x07 \u202e[link=evil]")
    state.apply("remoteclip/1/\x1b[31m", b"", False, at=NOW)
    screen = shown(state)
    assert "[bold]x[/bold]" in screen
    assert not set(screen) & {"\x1b", "\x07", "\u202e"}
    assert "1 messages ignored" in screen


def test_plain_cuts_long_texts_and_leaves_honest_ones_alone() -> None:
    assert plain("Größe ≥ 5, “boat” 🚤") == "Größe ≥ 5, “boat” 🚤"
    assert plain("x" * 10_000, 20) == "x" * 19 + "…"
    assert plain("a\nb\tc\x00") == "a\ufffdb\ufffdc\ufffd"
