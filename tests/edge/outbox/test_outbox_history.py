"""The outbox's second schema: events kept for a replay, age, and files that an earlier version left."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path

import pytest

from edge.outbox.outbox import ROW_BYTES, KeptEvent, Outbox
from firmware_cfg.errors import OutboxError

DAY_S = 86_400.0
IN_2026 = 1_780_000_000.0


class Clock:
    """A wall clock that somebody may set, and a monotonic one that nobody can."""

    def __init__(self) -> None:
        self.wall_s = IN_2026
        self.monotonic_s = 1000.0

    def passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds

    def open(self, path: Path, *, max_age_s: float = 3 * DAY_S) -> Outbox:
        return Outbox(path, max_age_s=max_age_s, wall=lambda: self.wall_s, monotonic=lambda: self.monotonic_s)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def put_event(outbox: Outbox, number: int, *, size: int = 10, kind: str = "alert") -> int:
    seq = outbox.next_seq()
    body = f"{number}".ljust(size)
    return outbox.put("events", body, kind=kind, event_id=f"e{number}", seq=seq)  # type: ignore[arg-type]


def test_a_sent_event_can_be_read_again_after_a_restart(path: Path) -> None:
    with Outbox(path) as outbox:
        first, second, third = (put_event(outbox, number) for number in range(3))
        outbox.put("counts/car", b"{}", kind="telemetry")
        boot_id = outbox.boot_id
        outbox.done(second, first)
        assert [(e.seq, e.event_id, e.sent) for e in outbox.history(boot_id, 1, 99)] == [
            *((1, "e0", True), (2, "e1", True), (3, "e2", False)),
        ]
        assert outbox.history(boot_id, 2, 2) == [KeptEvent(boot_id, 2, "e1", b"1         ", sent=True)]
        assert [e.seq for e in outbox.history(boot_id, 1, 99, limit=2)] == [1, 2]
        assert outbox.history("another boot", 1, 99) == []
    with Outbox(path) as outbox:
        assert [e.seq for e in outbox.history(boot_id, 1, 99)] == [1, 2, 3]
        assert outbox.history(outbox.boot_id, 1, 99) == []
        outbox.done(third)
        assert [e.sent for e in outbox.history(boot_id, 1, 99)] == [True] * 3  # under the boot that wrote it
        put_event(outbox, 9)
        assert [e.seq for e in outbox.history(outbox.boot_id, 1, 99)] == [4]


def test_what_is_sent_again_is_kept_once(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.done(put_event(outbox, 0))
        assert not outbox.queues_event("e0")
        again = outbox.put("events", b"again", kind="telemetry", event_id="e0")
        assert outbox.queues_event("e0")
        outbox.done(again)
        assert [e.payload for e in outbox.history(outbox.boot_id, 1, 9)] == [b"0         "]


def test_the_history_is_bounded_and_the_oldest_events_go(path: Path) -> None:
    each = len("events") + 100 + ROW_BYTES
    with Outbox(path, history_bytes=3 * each) as outbox:
        for number in range(5):
            outbox.done(put_event(outbox, number, size=100))
        assert [e.seq for e in outbox.history(outbox.boot_id, 1, 99)] == [3, 4, 5]
        boot_id = outbox.boot_id
    with Outbox(path, history_bytes=each) as outbox:
        assert [e.seq for e in outbox.history(boot_id, 1, 99)] == [5]
    with Outbox(path, history_bytes=0) as outbox:
        assert outbox.history(boot_id, 1, 99) == []
        outbox.done(put_event(outbox, 9))
        assert outbox.history(outbox.boot_id, 1, 99) == []


def test_an_update_that_was_shed_can_still_be_asked_for(path: Path) -> None:
    with Outbox(path, max_bytes=3 * ROW_BYTES) as outbox:
        for number in range(4):
            put_event(outbox, number, kind="update")
        assert outbox.counts().shed_update == 2
        assert [(e.seq, e.sent) for e in outbox.history(outbox.boot_id, 1, 9)] == [
            *((1, True), (2, True), (3, False), (4, False)),
        ]


def test_telemetry_and_updates_go_when_they_are_too_old_and_alerts_stay(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    with clock.open(path) as outbox:
        for kind in ("alert", "update", "telemetry"):
            outbox.put(f"old/{kind}", b"", kind=kind)
        clock.passes(2 * DAY_S)
        outbox.put("new", b"", kind="telemetry")
        clock.passes(1.5 * DAY_S)
        outbox.put("newer", b"", kind="telemetry")
        assert [m.topic for m in outbox.pending()] == ["old/alert", "new", "newer"]
        assert (outbox.counts().shed_update, outbox.counts().shed_telemetry) == (1, 1)
    assert "waited more than 72 h and were shed" in caplog.text


@pytest.mark.parametrize("step_s", [30 * 365 * DAY_S, -30 * 365 * DAY_S])
def test_a_clock_that_is_set_makes_nothing_old_or_young(path: Path, step_s: float) -> None:
    clock = Clock()
    with clock.open(path) as outbox:
        outbox.put("t", b"", kind="telemetry")
        clock.wall_s += step_s
        clock.passes(DAY_S)
        outbox.put("u", b"", kind="telemetry")
        assert [m.topic for m in outbox.pending()] == ["t", "u"]
        clock.passes(2.5 * DAY_S)
        outbox.put("v", b"", kind="telemetry")
        assert [m.topic for m in outbox.pending()] == ["u", "v"]


def test_after_a_restart_age_is_told_by_the_wall_clock_unless_it_was_not_set(path: Path) -> None:
    clock = Clock()
    with clock.open(path) as outbox:
        outbox.put("right", b"", kind="update")
        clock.wall_s = 60.0  # a board without a battery, started in 1970
        outbox.put("unset", b"", kind="update")
    clock.wall_s, clock.monotonic_s = IN_2026 + 4 * DAY_S, 1.0
    with clock.open(path) as outbox:
        assert [m.topic for m in outbox.pending()] == ["unset"]


def test_a_message_knows_how_long_it_waited_whatever_the_wall_clock_says(path: Path) -> None:
    clock = Clock()
    with clock.open(path) as outbox:
        outbox.put("t", b"", kind="alert", correlation=b"\x00who asked")
        clock.passes(5.0)
        clock.wall_s -= DAY_S
        (message,) = outbox.pending()
        assert (message.waited_s, message.correlation) == (5.0, b"\x00who asked")
    clock.monotonic_s = 1e9  # of another life of the machine
    with clock.open(path) as outbox:
        (message,) = outbox.pending()
        assert (message.waited_s, message.correlation) == (None, b"\x00who asked")


def test_on_a_full_disk_what_was_acknowledged_is_not_given_out_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Outbox(path, history_bytes=1 << 30) as outbox:
        ids = [put_event(outbox, number, size=50_000) for number in range(4)]
        outbox._file.run("PRAGMA query_only = 1")  # refuses as a disk does: every write, no read
        outbox.done(ids[0])
        outbox.done(ids[2])
        assert [m.id for m in outbox.pending()] == [ids[1], ids[3]]
        assert [m.id for m in outbox.pending(1)] == [ids[1]]
        with pytest.raises(OutboxError):
            put_event(outbox, 5)
        outbox._file.run("PRAGMA query_only = 0")
        assert outbox.counts().queued == 4
        outbox.done(ids[1])
        assert outbox.counts().queued == 1
        assert [m.id for m in outbox.pending()] == [ids[3]]
        assert [e.sent for e in outbox.history(outbox.boot_id, 1, 99)] == [True, True, True, False]
    assert caplog.text.count("acknowledged messages stay in it for now") == 1


def test_an_alert_never_travels_in_a_transaction_that_a_power_cut_may_take_back(path: Path) -> None:
    with Outbox(path) as outbox:
        with pytest.raises(ValueError, match="durable"), outbox.transaction(durable=False):
            outbox.put("t", b"", kind="alert")
        with outbox.transaction(durable=False):
            outbox.put("t", b"", kind="telemetry")
        with pytest.raises(ValueError, match="event_id"):
            outbox.put("t", b"", kind="alert", seq=3)
        assert outbox.counts().queued == 1


def put_clear(outbox: Outbox, alert_id: str, **other: str) -> int:
    seq = outbox.next_seq()
    body = {"text": '"alert_id":"quoted"', "alert_id": alert_id, "msg_type": "clear", **other}
    payload = json.dumps(body, separators=(",", ":"))
    return outbox.put("events", payload, kind="alert", event_id=f"e{seq}", seq=seq)


def test_which_alerts_have_ended_is_known_of_all_clears_and_each_is_read_once(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.done(put_clear(outbox, "sent"))
        put_clear(outbox, "waits")
        put_clear(outbox, "active", msg_type="raise")
        outbox.put("events", b"no json", kind="alert", event_id="e9", seq=9)
        asked = ["sent", "waits", "active", "quoted", "", "se", "sent" * 30]
        assert [outbox.has_ended(alert_id) for alert_id in asked] == [True, True, *[False] * 5]
        outbox.done(put_clear(outbox, "later"))
        put_clear(outbox, "x" * 64)
        asked = ["later", "x" * 64, "active"]
        assert [outbox.has_ended(alert_id) for alert_id in asked] == [True, True, False]
    with Outbox(path) as outbox:
        assert outbox.has_ended("sent")
        outbox._file.run("UPDATE history SET payload = x''")  # what is read again would not be found any more
        assert [outbox.has_ended(alert_id) for alert_id in ("sent", "later", "active")] == [True, True, False]


VERSION_1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL,
 qos INTEGER NOT NULL, retain INTEGER NOT NULL, kind TEXT NOT NULL, event_id TEXT,
 created REAL NOT NULL, size INTEGER NOT NULL);
CREATE INDEX messages_by_kind ON messages (kind, id);
CREATE INDEX messages_by_topic ON messages (topic);
CREATE TABLE alerts (alert_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('seq', 7), ('boot_id', 'b0');
INSERT INTO alerts VALUES ('a1', '{"alert_id":"a1"}');
PRAGMA application_id = 0x72636c70;
PRAGMA user_version = 1;
"""


def write_version_1(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(VERSION_1)
        events = [json.dumps({"boot_id": "b0", "seq": seq}).encode() for seq in (6, 7)]
        bodies = [events[0], b"", events[1], b"{broken", b"[]", b"{}"]
        for number, body in enumerate(bodies):
            kind, event_id = ("telemetry", None) if number == 5 else ("alert", f"e{number}" if body else None)
            db.execute(
                "INSERT INTO messages (id, topic, payload, qos, retain, kind, event_id, created, size)"
                " VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?)",
                (10 + number, f"t{number}", body, not body, kind, event_id, IN_2026, 200 + number),
            )
    db.close()


def test_a_file_of_version_1_is_taken_over_with_all_that_waits_in_it(path: Path) -> None:
    write_version_1(path)
    clock = Clock()
    for _ in range(2):
        with clock.open(path) as outbox:
            held = outbox.pending()
            assert [m.topic for m in held] == [f"t{number}" for number in range(6)]
            assert {m.waited_s for m in held} == {None}
            assert outbox.counts().bytes == sum(range(200, 206))
            assert outbox.kept_alerts() == {"a1": '{"alert_id":"a1"}'}
            assert [(e.seq, e.event_id, e.sent) for e in outbox.history("b0", 0, 99)] == [
                *((6, "e0", False), (7, "e2", False)),
            ]
    with clock.open(path) as outbox:
        outbox.done(*range(10, 16))
        assert outbox.counts().queued == 0
        assert [e.sent for e in outbox.history("b0", 0, 99)] == [True, True]
        assert outbox.next_seq() == 8
        assert outbox.put("t", b"", kind="alert") == 16


def test_a_takeover_that_is_cut_off_leaves_the_old_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_version_1(path)

    def power_fails(payload: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edge.outbox.schema._boot_and_seq", power_fails)
        with pytest.raises(KeyboardInterrupt):
            Outbox(path)
    with caplog.at_level(logging.INFO), Clock().open(path) as outbox:
        assert outbox.counts().queued == 6
    assert caplog.text == ""
