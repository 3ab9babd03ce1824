"""The board: what is due after each message, and after each loss."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

import edge.bridge.board
from edge.bridge.board import RETOLD, Board
from firmware_cfg.messages import Alert, Event, Status
from firmware_cfg.topics import Topics

Make = Callable[..., Event]
HERON = Topics("heron-1")
MARKER, DRONE = "remoteclip.heron-1.a1", "remoteclip.heron-1"
STALE = timedelta(seconds=90)


class Desk:
    """A board at a given time, and what goes out of it as (type, uid, stale) by event."""

    def __init__(self, now: datetime) -> None:
        self.board = Board("a-u-G", STALE)
        self.now = now

    def hears(self, message: Event | Alert | Status) -> None:
        topic = {Event: HERON.events, Status: HERON.status}.get(type(message))
        if isinstance(message, Alert):
            topic = HERON.alert(message.alert_id)
        assert topic is not None
        self.board.take(topic, message.to_payload(), isinstance(message, Alert), self.now)

    def sends(self) -> list[tuple[str, str]]:
        return [(kind, uid) for kind, uid, _ in self.events()]

    def events(self) -> list[tuple[str, str, str]]:
        sent = []
        while (due := self.board.next_due(self.now)) is not None:
            for written in due[1]:
                found = ET.fromstring(written)
                sent.append((found.get("type", ""), found.get("uid", ""), found.get("stale", "")))
        return sent

    def status(self, state: str) -> None:
        fields = {"session_id": "s1", "session_started_at": self.now, "boot_id": "b1"}
        self.hears(Status(device="heron-1", sent_at=self.now, state=state, **fields))


@pytest.fixture
def desk(start: datetime) -> Desk:
    return Desk(start)


RAISED = [("a-u-G", MARKER), ("a-f-A-M-H-Q", DRONE)]
ENDED = [("a-u-G", MARKER), ("t-x-d-d", f"{MARKER}.delete")]


def test_a_raise_shows_a_marker_once_though_it_comes_thrice(
    desk: Desk, event: Make, retained: Callable[[Event], Alert]
) -> None:
    for message in (event(), event(), retained(event())):
        desk.hears(message)
    assert desk.sends() == RAISED
    desk.hears(retained(event()))
    assert desk.sends() == []


def test_an_update_moves_it_and_a_clear_ends_it(desk: Desk, event: Make) -> None:
    for step, kind in enumerate(("raise", "update")):
        desk.hears(event(kind, step))
        assert desk.sends() == RAISED
    desk.hears(event("clear", 2, pose=None))
    (kind, uid, stale), delete = desk.events()
    assert [(kind, uid), delete[:2]] == ENDED
    assert stale == "2026-05-04T12:00:00.000Z"
    desk.board.take(HERON.alert("a1"), b"", False, desk.now)
    assert desk.sends() == []


def test_an_emptied_alert_ends_it_too(desk: Desk, event: Make) -> None:
    desk.hears(event())
    desk.sends()
    desk.board.take(HERON.alert("a1"), b"", False, desk.now)
    assert desk.sends() == ENDED


def test_what_is_from_the_backlog_changes_nothing_newer(desk: Desk, event: Make) -> None:
    desk.hears(event("update", 5))
    desk.sends()
    desk.hears(event("raise", 0, historical=True))
    assert desk.sends() == []
    desk.hears(event("clear", 6, pose=None))
    desk.sends()
    desk.hears(event("update", 7, pose=None))
    assert desk.sends() == []


def test_an_end_that_was_missed_is_told_after_a_restart(desk: Desk, event: Make) -> None:
    desk.hears(event("clear", 3, pose=None))
    assert desk.sends() == ENDED


def test_alerts_without_a_position_are_counted_and_said(
    desk: Desk, event: Make, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = {"position": None, "h_acc_m": None, "pose": None}
    with caplog.at_level(logging.WARNING):
        desk.hears(event("raise", 0, **nowhere))
        desk.hears(event("update", 1, **nowhere))
        desk.hears(event("clear", 2, **nowhere))
    assert desk.sends() == []
    assert desk.board.without_position == 1
    assert [record.getMessage() for record in caplog.records] == [
        "heron-1: person: alert a1 has no position and is not shown (no telemetry, or none that places it)"
    ]


def test_an_alert_that_loses_its_position_stays_where_it_was_and_still_ends(desk: Desk, event: Make) -> None:
    nowhere = {"position": None, "h_acc_m": None, "pose": None}
    desk.hears(event())
    desk.sends()
    desk.hears(event("update", 1, **nowhere))
    assert desk.sends() == []
    desk.hears(event("clear", 2, **nowhere))
    assert desk.sends() == ENDED


def test_markers_are_told_again_before_they_go_stale_unless_their_drone_is_lost(
    desk: Desk, event: Make
) -> None:
    desk.status("online")
    desk.hears(event())
    desk.sends()
    desk.now += timedelta(seconds=30)
    desk.board.refresh()
    assert desk.events() == [("a-u-G", MARKER, "2026-05-04T12:02:00.000Z")]
    desk.status("offline")
    desk.board.refresh()
    assert desk.sends() == []


def test_an_alert_that_the_broker_does_not_name_again_fades(
    desk: Desk, event: Make, retained: Callable[[Event], Alert]
) -> None:
    desk.hears(event())
    desk.sends()
    desk.board.broker_connected()
    desk.board.refresh()
    assert desk.sends() == []
    desk.hears(retained(event()))
    desk.board.refresh()
    assert desk.sends() == [("a-u-G", MARKER)]


def test_a_server_that_comes_back_is_told_all_that_is_and_what_ended_lately(desk: Desk, event: Make) -> None:
    desk.hears(event())
    desk.hears(event(alert_id="a2"))
    desk.hears(event("clear", 1, alert_id="a2", pose=None))
    before = desk.sends()
    desk.board.server_connected(desk.now)
    assert sorted(desk.sends()) == sorted(before)
    desk.now += RETOLD
    desk.board.server_connected(desk.now)
    assert desk.sends() == [("a-u-G", MARKER)]


def test_where_a_drone_was_is_never_told_as_where_it_is(desk: Desk, event: Make) -> None:
    desk.hears(event())
    desk.now += STALE - timedelta(seconds=1)
    desk.board.server_connected(desk.now)
    assert ("a-f-A-M-H-Q", DRONE, "2026-05-04T12:01:30.000Z") in desk.events()
    desk.now += timedelta(seconds=1)
    desk.board.server_connected(desk.now)
    assert desk.sends() == [("a-u-G", MARKER)]


@pytest.mark.parametrize(
    ("age", "changes", "shown"),
    [
        (timedelta(hours=9), {"historical": True}, False),
        (timedelta(seconds=20), {"historical": True}, True),
        (timedelta(hours=9), {"historical": True, "clock_synced": False}, False),
        (timedelta(hours=9), {"clock_synced": False}, True),  # its clock is wrong, and it is there now
        (timedelta(hours=-9), {}, True),
    ],
)
def test_a_drone_is_shown_for_as_long_as_what_is_told_of_it_is_fresh(
    desk: Desk, event: Make, age: timedelta, changes: dict[str, bool], shown: bool
) -> None:
    desk.now += age
    desk.hears(event(**changes))
    stales = [stale for kind, _, stale in desk.events() if kind == "a-f-A-M-H-Q"]
    fresh_for = STALE - (age if changes.get("clock_synced", True) and age > timedelta(0) else timedelta(0))
    wanted = (desk.now + fresh_for).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert stales == ([wanted] if shown else [])


def test_a_kept_alert_of_a_drone_without_a_clock_shows_no_drone(
    desk: Desk, event: Make, retained: Callable[[Event], Alert]
) -> None:
    desk.hears(retained(event(clock_synced=False)))
    assert desk.sends() == [("a-u-G", MARKER)]


def test_what_did_not_go_out_stays_due(desk: Desk, event: Make) -> None:
    desk.hears(event(pose=None))
    due = desk.board.next_due(desk.now)
    assert due is not None
    desk.board.unsent(due[0])
    assert desk.sends() == [("a-u-G", MARKER)]


def test_a_flood_of_alerts_keeps_the_newest_and_is_said(
    desk: Desk, event: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(edge.bridge.board, "MOST_MARKERS", 3)
    for number in range(5):
        desk.hears(event(alert_id=f"a{number}", pose=None))
    assert [uid for _, uid in desk.sends()] == [f"remoteclip.heron-1.a{number}" for number in (2, 3, 4)]
    assert (desk.board.shown, desk.board.dropped) == (3, 2)
    assert "remoteclip.heron-1.a0: no longer shown" in caplog.text


def test_what_is_no_message_of_ours_is_counted(desk: Desk) -> None:
    desk.board.take(HERON.events, b"<event/>", False, desk.now)
    desk.board.take("other/topic", b"", False, desk.now)
    assert desk.sends() == []
    assert desk.board.rejected == 2
