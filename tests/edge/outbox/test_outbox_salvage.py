"""What is saved of an outbox with bad pages, as a worn card or a power cut leaves it."""

from __future__ import annotations

import errno
import logging
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable
from itertools import count, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.outbox.damaged import MOST_DAMAGED
from edge.outbox.file import OutboxDamagedError
from edge.outbox.outbox import Outbox
from firmware_cfg.errors import OutboxError

PAGE = 4096
MESSAGES = 300


def fill(path: Path) -> list[bytes]:
    """An outbox with sent and waiting events and an active alert; returns the payloads that wait."""
    with Outbox(path) as outbox:
        ids = []
        with outbox.transaction():
            for number in range(MESSAGES):
                body = f"event {number}".ljust(200).encode()
                seq = outbox.next_seq()
                ids.append(outbox.put("events", body, kind="alert", event_id=f"e{number}", seq=seq))
            outbox.keep_alert("a1", "state")
        outbox.done(*ids[: MESSAGES // 3])
        return [message.payload for message in outbox.pending(MESSAGES)]


def spoil(path: Path, pages: list[int], filler: bytes) -> None:
    content = bytearray(path.read_bytes())
    for page in pages:
        content[page * PAGE : (page + 1) * PAGE] = filler
    path.write_bytes(content)


def test_a_bad_page_in_the_middle_costs_no_more_than_what_was_on_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox.db"
    waiting = fill(path)
    content = path.read_bytes()
    (page,) = {content.index(waiting[100]) // PAGE}
    lost = [body for body in waiting if body in content[page * PAGE : (page + 1) * PAGE]]
    spoil(path, [page], b"\xa5" * PAGE)
    with caplog.at_level(logging.WARNING), Outbox(path) as outbox:
        held = outbox.pending(MESSAGES)
        assert [m.payload for m in held] == [body for body in waiting if body not in lost]
        assert 0 < len(lost) < 30
        assert outbox.kept_alerts() == {"a1": "state"}
        assert outbox.next_seq() == MESSAGES + 1
        assert outbox.counts().bytes == sum(len("events") + len(m.payload) + 128 for m in held)
        sent = outbox._file.all("SELECT seq FROM events WHERE sent")
        assert [seq for (seq,) in sent] == list(range(1, MESSAGES // 3 + 1))
        assert {m.waited_s for m in held} == {None}
        assert outbox.put("t", b"new", kind="alert") > held[-1].id
    assert "messages, 100 sent events, 1 active alerts" in caplog.text
    assert [name.name for name in tmp_path.iterdir() if name.name.startswith(".")] == []


def ruin_an_index(path: Path) -> None:
    """Damage that costs no row: what is not saved was lost by the salvage."""
    with sqlite3.connect(path) as db:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'messages_by_kind'"
        ((root,),) = db.execute(query).fetchall()
    db.close()
    spoil(path, [root - 1], b"\xff" * PAGE)


def put_events(outbox: Outbox, number: int) -> list[int]:
    ids = []
    for _ in range(number):
        with outbox.transaction():
            seq = outbox.next_seq()
            ids.append(outbox.put("events", f"{seq}", kind="alert", event_id=f"e{seq}", seq=seq))
    return ids


@pytest.mark.parametrize("sent", [[], [0, 1, 2, 3, 4], [0, 2, 3, 4], None])
def test_what_waits_and_what_was_sent_is_saved_also_where_there_is_only_one(
    tmp_path: Path, sent: list[int] | None
) -> None:
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:
        ids = [] if sent is None else put_events(outbox, 5)
        outbox.done(*(ids[place] for place in sent or ()))
        outbox.keep_alert("a1", "state")
        before = outbox.pending(), outbox._file.all("SELECT * FROM events"), outbox.last_seq()
        waiting = [message.id for message in before[0]]
    ruin_an_index(path)
    with Outbox(path) as outbox:
        assert [message.id for message in outbox.pending()] == waiting
        assert (outbox._file.all("SELECT * FROM events"), outbox.last_seq()) == before[1:]
        assert outbox.kept_alerts() == {"a1": "state"}
        new = put_events(outbox, 3)
        assert min(new) > max(ids, default=0)
        outbox.done(*new, *waiting)
        assert outbox.counts().queued == 0
        seqs = [seq for (seq,) in outbox._file.all("SELECT seq FROM events WHERE sent ORDER BY seq")]
        assert seqs == list(range(1, len(ids) + 4))


def test_an_event_that_damage_shows_twice_waits_and_leaves_the_queue(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:
        first, second = put_events(outbox, 2)
        outbox._file.run("INSERT INTO history SELECT id, boot_id, seq, event_id, payload, size FROM messages")
        outbox.done(first)  # also without a salvage
        assert [message.id for message in outbox.pending()] == [second]
        assert outbox._bounds.tally.history_bytes == 0  # as counted when it was opened
    ruin_an_index(path)
    with Outbox(path) as outbox:
        assert [message.id for message in outbox.pending()] == [second]
        assert outbox._file.all("SELECT seq, sent FROM events ORDER BY seq") == [(1, 1), (2, 0)]
        outbox.done(second)
        assert outbox.counts().queued == 0


def test_what_only_the_journal_had_is_saved_too(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    waiting = fill(path)
    with Outbox(path) as outbox:
        outbox.put("t", b"in the journal only", kind="alert")
        content, journal = path.read_bytes(), path.with_name("outbox.db-wal").read_bytes()
    path.write_bytes(content)
    path.with_name("outbox.db-wal").write_bytes(journal)
    spoil(path, [content.index(waiting[100]) // PAGE], bytes(PAGE))
    with Outbox(path) as outbox:
        payloads = [m.payload for m in outbox.pending(MESSAGES + 1)]
    assert payloads[-1] == b"in the journal only"
    assert len(payloads) > len(waiting) - 30


@settings(max_examples=30, deadline=None)
@given(
    pages=st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True),
    filler=st.sampled_from([bytes(PAGE), b"\xa5" * PAGE, random.Random(7).randbytes(PAGE)]),
)
def test_whatever_pages_are_bad_it_opens_and_invents_nothing(pages: list[int], filler: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "outbox.db")
        waiting = fill(path)
        spoil(path, [page for page in pages if page < len(path.read_bytes()) // PAGE], filler)
        with Outbox(path) as outbox:
            held = [message.payload for message in outbox.pending(2 * MESSAGES)]
            known = {f"event {number}".ljust(200).encode() for number in range(MESSAGES)}
            assert set(held) <= known
            assert held == sorted(held, key=lambda body: int(body.split()[1]))
            assert set(outbox.kept_alerts().items()) <= {("a1", "state")}
            outbox.put("t", b"works", kind="alert")
        with Outbox(path) as outbox:
            assert [m.payload for m in outbox.pending(2 * MESSAGES)] == [*held, b"works"]
        assert len(waiting) == MESSAGES - MESSAGES // 3


def test_a_file_that_goes_bad_under_way_says_that_a_restart_helps(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    fill(path)
    with Outbox(path) as outbox:
        outbox._file.all("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(PAGE)
            file.write(b"\xa5" * (path.stat().st_size - PAGE))
        outbox._file.run("PRAGMA shrink_memory")
        with pytest.raises(
            OutboxDamagedError, match=r"malformed \(restart: what is left of a damaged outbox"
        ):
            outbox.put("t", b"x", kind="alert")
    with Outbox(path) as outbox:
        outbox.put("t", b"x", kind="alert")
        assert [message.payload for message in outbox.pending()] == [b"x"]


def test_damaged_files_do_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    for number in range(MOST_DAMAGED + 2):
        path.write_bytes(f"damage {number}".encode() * 1000)
        Outbox(path).close()
    left = sorted(tmp_path.glob("*.damaged-*"))
    assert [file.read_bytes()[:8] for file in left] == [b"damage 2", b"damage 3", b"damage 4"]


def test_older_damaged_files_go_before_the_one_in_hand_whatever_the_clock_said(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:
        waiting = put_events(outbox, 5)
    ruin_an_index(path)
    for number in (1_780_000_000_000_000_000, 999, 12):  # as an earlier version named them, by the time
        path.with_name(f"outbox.db.damaged-{number}").write_bytes(b"older")
    with Outbox(path) as outbox:
        assert [message.id for message in outbox.pending()] == waiting
    numbers = {int(name.name.rpartition("-")[2]) for name in tmp_path.glob("*.damaged-*")}
    assert numbers == {999, 1_780_000_000_000_000_000, 1_780_000_000_000_000_001}


def cut(monkeypatch: pytest.MonkeyPatch, step: int, *, before: bool) -> None:
    """Let the power fail before or after the file that is renamed as number `step`, from 0."""
    real, done = os.replace, count()

    def replace(old: Path, new: Path) -> None:
        now = next(done) == step
        if old.name == "outbox.db":  # a journal that could not be taken in when the file was closed
            old.with_name("outbox.db-wal").write_bytes(b"a journal that cannot be read")
        if now and before:
            raise KeyboardInterrupt
        real(old, new)
        if now:
            raise KeyboardInterrupt

    monkeypatch.setattr("edge.outbox.damaged.os.replace", replace)


RENAMED = 4  # made, moved aside, its journal, put in its place


@pytest.mark.parametrize(("step", "before"), [*product(range(RENAMED), (True, False))])
def test_a_salvage_that_is_cut_off_anywhere_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, before: bool
) -> None:
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:
        waiting = put_events(outbox, 5)
    ruin_an_index(path)
    half_made = tmp_path / ".outbox.db.salvage"
    half_made.mkdir()
    for name in ("old.db", "new.db"):
        (half_made / name).write_bytes(b"left by an earlier cut")
    with monkeypatch.context() as patch:
        cut(patch, step, before=before)
        with pytest.raises(KeyboardInterrupt):
            Outbox(path)
    for _ in range(2):
        with Outbox(path) as outbox:
            assert [message.id for message in outbox.pending()] == waiting
    left = {"outbox.db", "outbox.db.damaged-1"}
    if step > 1 or (step == 1 and not before):  # else SQLite removed the journal, at the next start
        left.add("outbox.db.damaged-1-wal")
    assert {name.name for name in tmp_path.iterdir()} == left


def test_what_a_cut_left_is_not_taken_for_an_outbox_that_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:
        put_events(outbox, 5)
    whole = path.read_bytes()
    ruin_an_index(path)
    with monkeypatch.context() as patch:
        cut(patch, 0, before=False)
        with pytest.raises(KeyboardInterrupt):
            Outbox(path)
    path.write_bytes(whole)  # somebody put a copy back
    Outbox(path).close()
    path.unlink()
    with Outbox(path) as outbox:
        assert outbox.counts().queued == 0


def disk_is_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def database_is_full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize(
    ("what", "fails"),
    [
        ("edge.outbox.salvage.shutil.copyfile", disk_is_full),
        ("edge.outbox.salvage.create", database_is_full),
    ],
)
def test_without_room_to_save_it_a_damaged_outbox_waits_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, fails: Callable[..., None]
) -> None:
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:
        waiting = put_events(outbox, 5)
    ruin_an_index(path)
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(what, fails)
        for _ in range(2):
            with pytest.raises(OutboxError, match="make room on the disk"):
                Outbox(path)
    assert path.read_bytes() == content
    assert [name.name for name in tmp_path.iterdir()] == ["outbox.db"]
    with Outbox(path) as outbox:
        assert [message.id for message in outbox.pending()] == waiting
