"""events/replay against a real outbox: which events come again, what is missing, what is refused."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from edge.requests.replay import ReplayRequests
from firmware_cfg.messages.replay import MAX_RANGES, MAX_REPLAYED, ReplayAnswer, ReplayRequest

ROOT = "remoteclip/1/bird"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as box:
        yield box


def put_event(outbox: Outbox) -> int:
    seq = outbox.next_seq()
    body = json.dumps({"event_id": f"e{seq}", "seq": seq, "historical": False, "text": "größe"})
    return outbox.put(f"{ROOT}/events", body, kind="alert", event_id=f"e{seq}", seq=seq)


def send(outbox: Outbox, count: int) -> None:
    outbox.done(*(put_event(outbox) for _ in range(count)))


def request(
    boot_id: str, *ranges: tuple[int, int], more: dict[str, Any] | None = None, **options: Any
) -> IncomingMessage:
    body = {"schema": 1, "boot_id": boot_id, "ranges": ranges, **(more or {})}
    return IncomingMessage(f"{ROOT}/events/replay", json.dumps(body).encode(), retained=False, **options)


def ask(outbox: Outbox, *ranges: tuple[int, int], boot_id: str = "") -> tuple[list[int], ReplayAnswer]:
    """The numbers of the events that are queued again, and the answer, which comes after them."""
    before = {m.id for m in outbox.pending(10_000)}
    ReplayRequests(outbox, "bird").handle(request(boot_id or outbox.boot_id, *ranges))
    *again, answer = [m for m in outbox.pending(10_000) if m.id not in before]
    assert {m.topic for m in again} <= {f"{ROOT}/events"}
    assert {m.kind for m in (*again, answer)} == {"telemetry"}
    assert answer.topic == f"{ROOT}/events/replayed"
    bodies = [json.loads(m.payload) for m in again]
    assert all(body["historical"] and body["text"] == "größe" for body in bodies)
    assert [body["event_id"] for body in bodies] == [m.event_id for m in again]
    return [body["seq"] for body in bodies], ReplayAnswer.from_payload(answer.payload)


def test_a_gap_is_filled_in_order_and_the_answer_tells_the_rest(outbox: Outbox) -> None:
    send(outbox, 6)
    put_event(outbox)
    seqs, answer = ask(outbox, (5, 9), (2, 3), (3, 3))
    assert seqs == [2, 3, 5, 6]
    assert (answer.sent, answer.waiting) == (4, 1)  # 7 is queued, nobody has written 8 and 9
    assert (answer.missing, answer.left) == (((8, 9),), ())
    seqs, answer = ask(outbox, (1, 3))
    assert (seqs, answer.sent, answer.waiting) == ([1], 1, 2)  # 2 and 3 are queued from the last time


def test_what_is_no_longer_kept_is_named(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.db", history_bytes=700) as outbox:
        send(outbox, 9)
        boot_id = outbox.boot_id
        kept = [event.seq for event in outbox.history(boot_id, 1, 9)]
        assert kept == [7, 8, 9]
        seqs, answer = ask(outbox, (1, 2), (4, 8))
        assert (seqs, answer.missing) == ([7, 8], ((1, 2), (4, 6)))
    with Outbox(tmp_path / "outbox.db") as outbox:
        seqs, answer = ask(outbox, (8, 1 << 52), boot_id=boot_id)
        assert (seqs, answer.missing) == ([9], ((10, 1 << 52),))
        assert answer.waiting == 1  # 8 waits from before the restart
        seqs, answer = ask(outbox, (1, 2), boot_id="never-heard-of")
        assert (seqs, answer.missing, answer.boot_id) == ([], ((1, 2),), "never-heard-of")


def test_an_answer_is_bounded_and_says_where_to_go_on(outbox: Outbox) -> None:
    send(outbox, MAX_REPLAYED + 60)
    seqs, answer = ask(outbox, (1, 10), (20, MAX_REPLAYED + 40), (MAX_REPLAYED + 50, MAX_REPLAYED + 51))
    assert len(seqs) == answer.sent == MAX_REPLAYED
    assert answer.left == ((seqs[-1] + 1, MAX_REPLAYED + 40), (MAX_REPLAYED + 50, MAX_REPLAYED + 51))
    seqs, answer = ask(outbox, *answer.left)
    assert (seqs[0], len(seqs), answer.left) == (MAX_REPLAYED + 10, 33, ())


def test_the_answer_goes_where_it_is_wanted_unless_it_would_pass_for_something_else(outbox: Outbox) -> None:
    desk = ReplayRequests(outbox, "bird")
    wanted = "remoteclip-reply/bird/room7"
    more = {"request_id": "r1"}
    desk.handle(request("b", (1, 1), more=more, response_topic=wanted, correlation=b"\x00\x01"))
    desk.handle(request("b", (1, 1), response_topic="remoteclip/1/bird/events", correlation=b"x"))
    first, second = outbox.pending()
    assert (first.topic, first.correlation) == (wanted, b"\x00\x01")
    assert ReplayAnswer.from_payload(first.payload).request_id == "r1"
    assert (second.topic, second.correlation) == (f"{ROOT}/events/replayed", b"x")


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"[]",
    b'{"schema": 1, "boot_id": "b", "ranges": []}',
    b'{"schema": 1, "boot_id": "b", "ranges": [[2, 1]]}',
    b'{"schema": 1, "boot_id": "b", "ranges": [[-1, 1]]}',
    b'{"schema": 1, "boot_id": "b", "ranges": [[0, 1e400]]}',
    b'{"schema": 1, "boot_id": "b", "ranges": [[0, 9007199254740992]]}',
    b'{"schema": 1, "boot_id": "../b", "ranges": [[0, 1]]}',
    b'{"schema": 1, "boot_id": "b", "ranges": [[0, 1]], "extra": 1}',
    json.dumps({"schema": 1, "boot_id": "b", "ranges": [[1, 1]] * (MAX_RANGES + 1)}).encode(),
    b"[" * 100_000,
]


def test_hostile_requests_are_refused_with_one_line_and_change_nothing(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    desk = ReplayRequests(outbox, "bird")
    with caplog.at_level(logging.INFO):
        for payload in HOSTILE:
            desk.handle(IncomingMessage(f"{ROOT}/events/replay", payload, retained=False))
        good = request("b", (1, 1))
        desk.handle(IncomingMessage(good.topic, good.payload, retained=True))
    assert outbox.counts().queued == 0
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{ROOT}/events/replay: refused: not a ReplayRequest message")
    assert "\n" not in line


def test_as_many_ranges_as_are_allowed_fit_into_a_request(outbox: Outbox) -> None:
    top = (1 << 53) - 1
    ranges = [(top - 2 * number, top - 2 * number) for number in range(MAX_RANGES)]
    ReplayRequests(outbox, "bird").handle(request("b" * 64, *ranges, more={"request_id": "r" * 64}))
    (answer,) = outbox.pending()
    assert ReplayAnswer.from_payload(answer.payload).missing == tuple(sorted(ranges))


@settings(max_examples=40, deadline=None)
@given(
    ranges=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])),
        min_size=1,
        max_size=8,
    ),
    sent=st.integers(0, 12),
    waiting=st.integers(0, 4),
    later=st.booleans(),
)
def test_every_wanted_number_is_sent_waiting_or_missing(
    ranges: list[tuple[int, int]], sent: int, waiting: int, later: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Outbox(Path(folder, "outbox.db")) as outbox:
            send(outbox, sent)
            for _ in range(waiting):
                put_event(outbox)
            boot_id = outbox.boot_id
            if not later:
                seqs, answer = ask(outbox, *ranges)
        if later:
            with Outbox(Path(folder, "outbox.db")) as outbox:
                seqs, answer = ask(outbox, *ranges, boot_id=boot_id)
    wanted = {number for first, last in ranges for number in range(first, last + 1)}
    known = sent + waiting
    assert seqs == sorted(wanted & set(range(1, sent + 1)))
    assert answer.waiting == len(wanted & set(range(sent + 1, known + 1)))
    missing = {number for first, last in answer.missing for number in range(first, last + 1)}
    assert missing == wanted - set(range(1, known + 1))
    assert ReplayRequest(boot_id="b", ranges=tuple(ranges)).ranges == tuple(ranges)
