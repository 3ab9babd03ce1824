"""Who asks for a picture gets it where it asked for it; who asks for anything else gets nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.evidence.requests import MAX_REQUEST_BYTES, EvidenceRequests
from edge.evidence.store import EvidenceStore
from edge.frames import RgbImage
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox

TOPIC = "remoteclip/1/drone-7/evidence/get"


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore(tmp_path / "evidence", max_bytes_each=64 * 1024, keep_bytes=1 << 20)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as outbox:
        yield outbox


@pytest.fixture
def kept(store: EvidenceStore) -> str:
    name = store.keep(RgbImage(np.full((40, 40, 3), 90, np.uint8)), [])
    assert name is not None
    return name


def ask(
    sha256: str, *, response_topic: str | None = None, correlation: bytes | None = None
) -> IncomingMessage:
    return IncomingMessage(TOPIC, json.dumps({"sha256": sha256}).encode(), False, response_topic, correlation)


def test_a_picture_goes_out_by_its_hash_and_nothing_where_it_is_gone(
    store: EvidenceStore, outbox: Outbox, kept: str
) -> None:
    requests = EvidenceRequests(store, outbox, "drone-7")
    gone = "0" * 64
    requests.handle(ask(kept))
    requests.handle(ask(gone))
    sent = outbox.pending()
    assert [(m.topic, m.payload, m.kind, m.retain, m.correlation) for m in sent] == [
        (f"remoteclip/1/drone-7/evidence/{kept}", store.get(kept), "telemetry", False, None),
        (f"remoteclip/1/drone-7/evidence/{gone}", b"", "telemetry", False, None),
    ]


def test_the_answer_goes_where_it_was_asked_for_but_never_where_it_would_pass_for_something_else(
    store: EvidenceStore, outbox: Outbox, kept: str
) -> None:
    requests = EvidenceRequests(store, outbox, "drone-7")
    own = f"remoteclip/1/drone-7/evidence/{kept}"
    wishes = {
        "desk/answers": "desk/answers",
        "remoteclip/1/drone-8/prompts/set": own,
        "remoteclip/1/drone-7/status": own,
        "$SYS/x": own,
        "a/#": own,
    }
    for wish in wishes:
        requests.handle(ask(kept, response_topic=wish, correlation=wish.encode()))
    assert [(m.topic, m.correlation) for m in outbox.pending()] == [
        (topic, wish.encode()) for wish, topic in wishes.items()
    ]


def test_hostile_requests_are_refused_with_few_lines(
    store: EvidenceStore, outbox: Outbox, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    requests = EvidenceRequests(store, outbox, "drone-7")
    good = json.dumps({"sha256": kept}).encode()
    hostile = [
        b"",
        b"\xff\xfe\xfd",
        b"[" * MAX_REQUEST_BYTES,
        b"null",
        b'{"sha256": "../../outbox.db"}',
        b'{"sha256": 5}',
        good[:-1] + b', "delete": true}',
        good.upper(),
        good + b" " * 10_000_000,
    ]
    for payload in hostile:
        requests.handle(IncomingMessage(TOPIC, payload, False))
    requests.handle(IncomingMessage(TOPIC, good, True))
    assert outbox.pending() == []
    assert [len(record.getMessage().splitlines()) for record in caplog.records] == [1]
    requests.handle(IncomingMessage(TOPIC, good, False))
    assert len(outbox.pending()) == 1


def test_a_picture_that_is_on_its_way_is_not_queued_again(
    store: EvidenceStore, outbox: Outbox, kept: str
) -> None:
    requests = EvidenceRequests(store, outbox, "drone-7")
    for _ in range(3):
        requests.handle(ask(kept))
    assert len(outbox.pending()) == 1
    requests.handle(ask(kept, correlation=b"7"))  # who waits for an answer of its own gets it
    assert [message.correlation for message in outbox.pending()] == [None, b"7"]
