"""What is kept, for how long, and what happens while the disk does not take it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from console import store
from console.history import History
from console.retention import Keep, size, tend
from console.store import HistoryError, open_database
from firmware_cfg.messages import AlertAct, Counts
from tests.console.conftest import NOW, Drone

BEGIN = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    history = History(tmp_path / "history.db", clock=lambda: BEGIN.timestamp() + 3600)
    yield history
    history.close()


def put_counts(history: History, values: list[int], every_s: float = 2.0) -> None:
    for number, value in enumerate(values):
        at = BEGIN + timedelta(seconds=number * every_s)
        facts = {"device": "kestrel-1", "sent_at": at, "observed_at": at, "frame": number, "score": 0.5}
        history.put_counts(Counts(prompt="boat", count=value, unique=number, **facts), at)


def counts(history: History, points: int = 10**9) -> list[tuple[int, int, int]]:
    found = history.counts("kestrel-1", "boat", BEGIN, BEGIN + timedelta(days=300), points)
    return [(each.low, each.count, each.high) for each in found]


def test_events_come_back_as_they_came_and_once_each(history: History, drone: Drone) -> None:
    events = [drone.event("raise"), drone.event("update"), drone.event("raise", "a2")]
    for number, event in enumerate([*events, events[0]]):
        history.put_event(event, NOW + timedelta(seconds=number))
    assert history.flush()
    assert history.events() == events
    assert history.events(device="kestrel-1", alert_id="a2") == [events[2]]
    assert history.events(limit=1) == [events[2]]
    assert [at for at, _ in history.received(NOW + timedelta(seconds=1), 9)] == [
        NOW + timedelta(seconds=1),
        NOW + timedelta(seconds=2),
    ]


def test_acts_and_the_audit_log_are_kept(history: History) -> None:
    act = AlertAct(action="comment", by="ann", at=NOW, text="<script>")
    for _ in range(2):
        history.put_act(("kestrel-1", "a1"), act)
    for number in range(5):
        history.put_audit("ann", "acknowledge", "kestrel-1", f"a{number}")
    assert history.flush()
    assert history.acts(NOW) == [(("kestrel-1", "a1"), act)]
    newest = history.audit(limit=2)
    assert [row.target for row in newest] == ["a4", "a3"]
    assert [row.target for row in history.audit(before_id=newest[-1].id)] == ["a2", "a1", "a0"]


def test_counts_are_kept_in_spans_that_hide_no_peak(history: History) -> None:
    put_counts(history, [1, 9, 2, 3, 4, 5, 0, 6])
    assert history.flush()
    assert counts(history) == [(1, 4, 9), (0, 6, 6)]
    assert counts(history, points=1) == [(0, 6, 9)]
    assert [(each.device, each.prompt) for each in history.count_series()] == [("kestrel-1", "boat")]


def test_a_span_that_is_written_in_two_parts_is_one(history: History) -> None:
    put_counts(history, [5, 1])
    assert history.flush()
    put_counts(history, [3])
    assert history.flush()
    assert counts(history) == [(1, 3, 5)]


def test_old_counts_become_coarser_and_then_they_go(history: History) -> None:
    put_counts(history, list(range(300)))
    assert history.flush()
    tend(history._writes, Keep(days=30, fine_days=1), BEGIN.timestamp() + 2 * 86400)
    assert counts(history) == [(0, 149, 149), (150, 299, 299)]
    tend(history._writes, Keep(days=30, fine_days=1), BEGIN.timestamp() + 31 * 86400)
    assert counts(history) == []


def test_beyond_its_size_the_oldest_counts_go_and_then_the_oldest_events(
    history: History, drone: Drone
) -> None:
    put_counts(history, [1] * 3000, every_s=10.0)
    events = [drone.event("update") for _ in range(300)]
    for number, event in enumerate(events):
        history.put_event(event, NOW + timedelta(seconds=number))
    history.put_audit("ann", "push", "kestrel-1")
    assert history.flush()
    full = size(history._writes)
    bound = full - 60_000
    tend(history._writes, Keep(days=9999, fine_days=9999, max_bytes=bound), BEGIN.timestamp())
    assert size(history._writes) <= bound
    assert 0 < len(counts(history)) < 3000
    assert len(history.events(limit=1000)) == 300
    tend(history._writes, Keep(days=9999, fine_days=9999, max_bytes=200_000), BEGIN.timestamp())
    assert (counts(history), len(history.audit())) == ([], 1)
    left = history.events(limit=1000)
    assert left == events[-len(left) :]


def test_while_another_program_locks_the_file_everything_waits_and_is_told(
    tmp_path: Path, drone: Drone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_PATIENCE_S", 0.05)
    told: list[str] = []
    history = History(tmp_path / "history.db", on_problem=told.append)
    locker = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    history.put_event(drone.event("raise"), NOW)
    assert not history.flush(0.5)
    assert ["locked" in line for line in told] == [True]
    assert history.events() == []  # what was can still be read
    locker.execute("ROLLBACK")
    assert history.flush()
    assert len(history.events()) == 1
    locker.close()
    history.close()
    assert told[1:] == [""]


def test_a_full_disk_is_told_and_nothing_is_lost_when_there_is_room_again(
    tmp_path: Path, drone: Drone, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    told: list[str] = []
    history = History(tmp_path / "history.db", on_problem=told.append)
    events = [drone.event("update") for _ in range(200)]
    with full_disk((tmp_path / "history.db-wal").stat().st_size + 20_000):
        for event in events:
            history.put_event(event, NOW)
        assert not history.flush(1.0)
        assert told
        assert told[0].startswith(str(tmp_path / "history.db"))
    assert history.flush()
    assert len(history.events(limit=1000)) == 200
    history.close()
    assert told[-1] == ""


def test_a_queue_that_is_full_drops_the_oldest_and_counts_them(
    tmp_path: Path, drone: Drone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_PATIENCE_S", 0.05)
    monkeypatch.setattr("console.history.MOST_WAITING", 10)
    history = History(tmp_path / "history.db")
    locker = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    events = [drone.event("update") for _ in range(15)]
    for number, event in enumerate(events):
        history.put_event(event, NOW + timedelta(seconds=number))
    locker.execute("ROLLBACK")
    locker.close()
    assert history.flush()
    assert (history.dropped, history.events()) == (5, events[5:])
    history.close()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be one" * 30, b"other"])
def test_a_file_that_is_no_history_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.db"
    if content == b"other":
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (x)")
        other.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(HistoryError, match=r"history\.db: .*\(.*aside\)"):
        open_database(path)
    assert path.read_bytes() == content


def test_only_its_owner_may_read_it(history: History) -> None:
    assert history.path.stat().st_mode & 0o077 == 0


def test_a_number_that_no_database_holds_costs_its_own_row_alone(history: History, drone: Drone) -> None:
    events = [drone.event("raise"), drone.event("update"), drone.event("clear")]
    huge = events[1].model_copy(update={"seq": 2**64})
    for event in (events[0], huge, events[2]):
        history.put_event(event, NOW)
    assert history.flush()
    assert [event.msg_type for _, event in history.received(BEGIN - timedelta(days=1), 10)] == [
        "raise",
        "clear",
    ]
    assert history.dropped == 1


def test_what_is_put_during_the_last_write_is_written_too(tmp_path: Path, drone: Drone) -> None:
    path = tmp_path / "history.db"
    history = History(path)
    insert, begun, goes_on = history._insert, threading.Event(), threading.Event()

    def slow(*rows: Any) -> None:
        begun.set()
        goes_on.wait(5.0)
        insert(*rows)

    history._insert = slow  # type: ignore[method-assign]
    history.put_event(drone.event("raise"), NOW)
    assert begun.wait(5.0)
    closing = threading.Thread(target=history.close)
    closing.start()
    history.put_audit("ann", "acknowledge", "kestrel-1", "a1")
    goes_on.set()
    closing.join(10.0)
    again = History(path)
    assert [row.action for row in again.audit()] == ["acknowledge"]
    again.close()


def test_it_is_known_which_events_are_kept(history: History, drone: Drone) -> None:
    event = drone.event("raise")
    history.put_event(event, NOW)
    assert history.flush()
    assert history.has_event(event.event_id)
    assert not history.has_event("another")


def test_rows_that_wait_are_bounded_in_bytes_too(
    history: History, drone: Drone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.history.MOST_WAITING_BYTES", 20_000)
    locker = sqlite3.connect(history.path, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    for number in range(20):
        history.put_event(drone.event("raise", f"a{number}", prompt_text=("x" * 4000,)), NOW)
    locker.execute("ROLLBACK")
    locker.close()
    assert history.flush()
    kept = [event.alert_id for _, event in history.received(BEGIN - timedelta(days=1), 100)]
    assert 1 <= len(kept) < 10
    assert kept[-1] == "a19"
    assert history.dropped == 20 - len(kept)
