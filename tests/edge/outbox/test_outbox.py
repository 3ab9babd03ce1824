"""The outbox: what it keeps, what it sheds, and what becomes of it after a crash or damage."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.outbox.outbox import ROW_BYTES, Kind, Outbox
from firmware_cfg.errors import OutboxError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite3"


def payloads(outbox: Outbox) -> list[bytes]:
    return [message.payload for message in outbox.pending(1000)]


def test_messages_come_back_oldest_first_with_all_their_parts(path: Path) -> None:
    with Outbox(path) as outbox:
        first = outbox.put("a/events", "größe", kind="alert", event_id="e1")
        second = outbox.put("a/health", b"\x00\xff", kind="telemetry", retain=True)
        one, two = outbox.pending()
        assert (one.id, one.topic, one.payload, one.qos, one.retain, one.kind, one.event_id) == (
            *(first, "a/events", "größe".encode(), 1, False, "alert", "e1"),
        )
        expected = (second, b"\x00\xff", 1, True, None)
        assert (two.id, two.payload, two.qos, two.retain, two.event_id) == expected
        assert [message.id for message in outbox.pending(1)] == [first]
        assert [message.id for message in outbox.pending(after=first)] == [second]


def test_only_done_removes_and_an_unknown_id_is_no_error(path: Path) -> None:
    with Outbox(path) as outbox:
        ids = [outbox.put("t", str(number), kind="alert") for number in range(3)]
        outbox.done(ids[1], 999)
        outbox.done()
        assert payloads(outbox) == [b"0", b"2"]
        outbox.done(ids[1])
        assert outbox.counts().queued == 2


def test_the_queue_seq_and_alert_state_survive_a_restart_and_the_boot_id_does_not(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put("t", "kept", kind="alert")
        assert [outbox.next_seq(), outbox.next_seq()] == [1, 2]
        outbox.keep_alert("a1", "first")
        outbox.keep_alert("a1", "second")
        outbox.keep_alert("a2", "other")
        outbox.drop_alert("a2")
        before = outbox.boot_id
    with Outbox(path) as outbox:
        assert payloads(outbox) == [b"kept"]
        assert outbox.next_seq() == 3
        assert outbox.kept_alerts() == {"a1": "second"}
        assert outbox.boot_id != before


def test_what_was_committed_survives_sigkill_and_the_rest_leaves_no_trace(
    path: Path, repository: Path
) -> None:
    program = """
        import os, signal, sys
        from edge.outbox.outbox import Outbox

        outbox = Outbox(sys.argv[1])
        with outbox.transaction():
            outbox.next_seq()
            outbox.put("t", "event", kind="alert")
            outbox.keep_alert("a1", "active")
        with outbox.transaction():
            outbox.next_seq()
            outbox.put("t", "half done", kind="alert")
            outbox.drop_alert("a1")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    assert subprocess.run(command, cwd=repository, timeout=60).returncode == -9
    with Outbox(path) as outbox:
        assert payloads(outbox) == [b"event"]
        assert outbox.kept_alerts() == {"a1": "active"}
        assert outbox.next_seq() == 2


def put_and_fail(outbox: Outbox) -> None:
    with outbox.transaction():
        outbox.put("t", bytes(1000), kind="alert")  # sheds the telemetry, too
        raise RuntimeError("changed its mind")


def test_a_transaction_that_fails_leaves_nothing_behind_and_wakes_nobody(path: Path) -> None:
    woken: list[int] = []
    with Outbox(path, max_bytes=5 * ROW_BYTES) as outbox:
        outbox.put("t", b"telemetry", kind="telemetry")
        before = outbox.counts()
        outbox.on_put = lambda: woken.append(outbox.counts().queued)
        with pytest.raises(RuntimeError, match="changed its mind"):
            put_and_fail(outbox)
        assert outbox.counts() == before
        assert payloads(outbox) == [b"telemetry"]
        assert woken == []
        with outbox.transaction():
            outbox.put("t", b"1", kind="alert")
            outbox.put("t", b"2", kind="alert")
            assert woken == []
        assert woken == [3]  # once, after the commit


def test_retained_state_replaces_its_older_unsent_self_but_events_and_alerts_do_not(path: Path) -> None:
    with Outbox(path) as outbox:
        for body in ("1", "2"):
            outbox.put("counts/boat", body, kind="telemetry", retain=True)
            outbox.put("counts/car", body, kind="telemetry", retain=True)
            outbox.put("log", body, kind="telemetry")
            outbox.put("events", "update " + body, kind="update")
            outbox.put("alerts/a1", "copy " + body, kind="update", retain=True)
            outbox.put("alerts/a1", "raised " + body, kind="alert", retain=True)
        assert payloads(outbox) == [
            *(b"1", b"update 1", b"raised 1"),
            *(b"2", b"2", b"2", b"update 2", b"copy 2", b"raised 2"),
        ]


def test_telemetry_is_shed_before_updates_and_alerts_never(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = bytes(100 - len("t"))
    with Outbox(path, max_bytes=4 * (100 + ROW_BYTES)) as outbox:
        kinds: list[Kind] = ["update", "telemetry", "alert", "telemetry"]
        for kind in kinds:
            outbox.put("t", body, kind=kind)
        left = [outbox.counts()]
        ids = []
        for _ in range(4):
            ids.append(outbox.put("t", body, kind="alert"))
            left.append(outbox.counts())
        assert [(each.telemetry, each.update, each.alert) for each in left] == [
            *((2, 1, 1), (1, 1, 2), (0, 1, 3), (0, 0, 4), (0, 0, 5)),
        ]
        assert (left[-1].shed_telemetry, left[-1].shed_update) == (2, 1)
        assert left[-1].bytes > outbox.max_bytes  # alerts stay even beyond the bound
        outbox.put("t", body, kind="telemetry")
        assert outbox.counts().telemetry == 0
        outbox.done(*ids)
        outbox.put("t", body, kind="telemetry")
        assert outbox.counts().telemetry == 1
    assert caplog.text.count("sheds the oldest telemetry") == 1
    assert caplog.text.count("has room again") == 1


@pytest.mark.parametrize("damage", ["not a database at all, but text" * 200, "zeroed header", "torn middle"])
def test_a_damaged_file_is_moved_aside_named_in_the_log_and_replaced(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Outbox(path) as outbox, outbox.transaction():
        for number in range(500):
            outbox.put(f"t/{number}", bytes(200), kind="alert")
    content = bytearray(path.read_bytes())
    if damage == "zeroed header":
        content[:100] = bytes(100)
    elif damage == "torn middle":
        content[8192:] = b"\xa5" * (len(content) - 8192)
    else:
        content = bytearray(damage.encode())
    path.write_bytes(content)
    with Outbox(path) as outbox:
        assert outbox.counts().queued == 0
        outbox.put("t", "works", kind="alert")
        assert payloads(outbox) == [b"works"]
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == bytes(content)
    assert str(aside) in caplog.text


def test_a_second_process_is_refused_in_one_line(path: Path, repository: Path) -> None:
    program = "import sys; from edge.outbox.outbox import Outbox; Outbox(sys.argv[1])"
    with Outbox(path):
        command = [sys.executable, "-c", program, str(path)]
        done = subprocess.run(command, cwd=repository, timeout=60, capture_output=True, text=True)
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert line.endswith(
        f"{path}: outbox: database is locked (is another remoteclip running with this state_dir?)"
    )


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match=r"/file: is not a folder \(make state_dir a folder that can be"):
        Outbox(tmp_path / "file" / "outbox.sqlite3")
    with pytest.raises(OutboxError, match=r"/file/deeper: not a directory \(make state_dir a folder"):
        Outbox(tmp_path / "file" / "deeper" / "outbox.sqlite3")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutboxError, match=r"unable to open database file \(make state_dir"):
        Outbox(tmp_path / "folder")


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious.sqlite3"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE precious (value)")
    other.close()
    with pytest.raises(OutboxError, match=r"is a database, but not an outbox \(point state_dir at another"):
        Outbox(path)
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_an_outbox_of_a_newer_version_is_left_alone(path: Path) -> None:
    Outbox(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(OutboxError, match=r"another version of remoteclip \(schema 99\)"):
        Outbox(path)


def test_a_full_disk_is_one_line_and_the_queue_stays_sound(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put("t", "before", kind="alert")
        outbox._file.run("PRAGMA max_page_count = 1")  # SQLite's own "disk": it cannot grow any more
        with pytest.raises(OutboxError, match=r"full \(make room on the disk\)"):
            outbox.put("t", bytes(1_000_000), kind="alert")
        outbox._file.run("PRAGMA max_page_count = 1000000")
        outbox.put("t", "after", kind="alert")
        assert payloads(outbox) == [b"before", b"after"]


def test_a_closed_outbox_says_so(path: Path) -> None:
    outbox = Outbox(path)
    outbox.close()
    outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        outbox.put("t", "late", kind="alert")


def test_what_it_cannot_carry_is_refused(path: Path) -> None:
    gossip: Kind = "gossip"  # type: ignore[assignment]
    with Outbox(path) as outbox:
        with pytest.raises(ValueError, match="kind"):
            outbox.put("t", "x", kind=gossip)
        assert outbox.counts().queued == 0


@pytest.mark.parametrize("kind", ["alert", "telemetry"])
def test_a_rollback_that_failed_is_made_up_for_before_whatever_comes_next(path: Path, kind: Kind) -> None:
    with Outbox(path) as outbox:
        outbox.put("t", "before", kind="alert")
        outbox._file.run("BEGIN")  # as after a rollback that the disk did not let through
        outbox._file.run("DELETE FROM messages")
        outbox.put("t", "after", kind=kind)
        assert payloads(outbox) == [b"before", b"after"]


def test_many_threads_may_put_at_once(path: Path) -> None:
    with Outbox(path) as outbox:
        seqs: list[int] = []

        def work(name: str) -> None:
            for _ in range(20):
                with outbox.transaction():
                    seq = outbox.next_seq()
                    outbox.put(name, str(seq), kind="alert")
                    seqs.append(seq)

        threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seqs == list(range(1, 81))
        assert [int(body) for body in payloads(outbox)] == seqs


class OutboxMachine(RuleBasedStateMachine):
    """Against plain lists: nothing is lost but by `done`, replacement and the order of shedding.

    Every event that leaves the queue is in the history, but the oldest beyond its bound.
    """

    LIMIT = 8 * (ROW_BYTES + 20)
    HISTORY = 4 * (ROW_BYTES + 20)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "outbox.sqlite3")
        self.outbox = self.open()
        self.expected: list[tuple[int, str, bytes, Kind, bool]] = []
        self.events: dict[int, tuple[str, int, int]] = {}  # by message id: boot id, seq, size
        self.kept: dict[int, tuple[str, int, int]] = {}
        self.seq = 0

    def open(self) -> Outbox:
        return Outbox(self.path, max_bytes=self.LIMIT, history_bytes=self.HISTORY)

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()

    def size(self) -> int:
        return sum(len(topic) + len(body) + ROW_BYTES for _, topic, body, _, _ in self.expected)

    def leaves(self, message: tuple[int, str, bytes, Kind, bool]) -> None:
        self.expected.remove(message)
        if message[0] in self.events:
            self.kept[message[0]] = self.events.pop(message[0])
        while sum(size for _, _, size in self.kept.values()) > self.HISTORY:
            del self.kept[min(self.kept)]

    def taken_over(self, message: tuple[int, str, bytes, Kind, bool]) -> None:
        self.expected.append(message)
        for shed in ("telemetry", "update"):
            while self.size() > self.LIMIT and any(m[3] == shed for m in self.expected):
                self.leaves(next(m for m in self.expected if m[3] == shed))

    @rule(
        topic=st.sampled_from("abc"),
        body=st.binary(max_size=200),
        kind=st.sampled_from(["alert", "update", "telemetry"]),
        retain=st.booleans(),
    )
    def put(self, topic: str, body: bytes, kind: Kind, retain: bool) -> None:
        message_id = self.outbox.put(topic, body, kind=kind, retain=retain)
        if retain and kind != "alert":
            for older in [m for m in self.expected if (m[1], m[3], m[4]) == (topic, kind, True)]:
                self.leaves(older)
        self.taken_over((message_id, topic, body, kind, retain))

    @rule(body=st.binary(max_size=200), kind=st.sampled_from(["alert", "update"]))
    def put_event(self, body: bytes, kind: Kind) -> None:
        self.seq += 1
        with self.outbox.transaction():
            assert self.outbox.next_seq() == self.seq
            message_id = self.outbox.put("events", body, kind=kind, event_id=f"e{self.seq}", seq=self.seq)
        self.events[message_id] = (self.outbox.boot_id, self.seq, len("events") + len(body) + ROW_BYTES)
        self.taken_over((message_id, "events", body, kind, False))

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.expected))
        self.outbox.done(chosen[0])
        self.leaves(chosen)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def acknowledge_on_a_disk_that_refuses(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.expected))
        self.outbox._file.run("PRAGMA query_only = 1")
        self.outbox.done(chosen[0])
        assert chosen[0] not in [m.id for m in self.outbox.pending(1000)]
        self.outbox._file.run("PRAGMA query_only = 0")
        self.outbox.done(0)  # whatever comes next takes it along
        self.leaves(chosen)

    @rule()
    def change_its_mind(self) -> None:
        with pytest.raises(RuntimeError, match="changed its mind"):
            put_and_fail(self.outbox)

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.outbox = self.open()

    @invariant()
    def holds_what_is_expected(self) -> None:
        held = [(m.id, m.topic, m.payload, m.kind, m.retain) for m in self.outbox.pending(1000)]
        assert held == self.expected
        assert self.outbox.counts().bytes == self.size()

    @invariant()
    def remembers_the_newest_events(self) -> None:
        boots = {boot for boot, _, _ in (*self.events.values(), *self.kept.values())}
        found = [(e.boot_id, e.seq, e.sent) for boot in boots for e in self.outbox.history(boot, 0, self.seq)]
        assert sorted(found) == sorted(
            [(boot, seq, False) for boot, seq, _ in self.events.values()]
            + [(boot, seq, True) for boot, seq, _ in self.kept.values()]
        )


OutboxMachine.TestCase.settings = hypothesis_settings(max_examples=15, stateful_step_count=20)
TestOutboxMachine = OutboxMachine.TestCase
