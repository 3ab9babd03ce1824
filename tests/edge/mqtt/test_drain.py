"""What one connection takes out of a real outbox; tests/system has the real broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from edge.mqtt.connection import Connection
from edge.mqtt.drain import Drain
from edge.mqtt.drain_plan import DrainPlan
from edge.mqtt.messages import Acknowledged, OutgoingMessage
from edge.outbox.outbox import Outbox
from firmware_cfg.topics import Topics

TOPICS = Topics("heron-1")


class Wire:
    """Keeps what is published; acknowledges nothing by itself."""

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.sent: list[OutgoingMessage] = []

    def publish(self, message: OutgoingMessage) -> int:
        self.sent.append(message)
        return len(self.sent)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.sqlite3") as box:
        yield box


@pytest.mark.parametrize(("bears", "in_flight", "full"), [(20, 19, False), (2, 1, False), (1, 1, True)])
def test_beside_the_messages_in_flight_there_is_room_for_the_goodbye(
    outbox: Outbox, bears: int, in_flight: int, full: bool
) -> None:
    wire = Wire(bears)
    drain = Drain(cast(Connection, wire), DrainPlan(outbox, TOPICS, backlog_rate=1e9))
    drain.say(OutgoingMessage(TOPICS.status, b"online"))
    drain.book([Acknowledged(1, None)])
    for number in range(30):
        outbox.put(TOPICS.events, str(number), kind="alert")
    drain.fill()
    assert len(wire.sent) - 1 == in_flight
    assert drain.full is full


def test_a_long_line_of_messages_that_may_not_go_does_not_keep_the_link_from_its_other_work(
    outbox: Outbox,
) -> None:
    wire = Wire(20)
    drain = Drain(cast(Connection, wire), DrainPlan(outbox, TOPICS, backlog_rate=1e9))
    drain.say(OutgoingMessage(TOPICS.status, b"online"))
    drain.book([Acknowledged(1, None)])
    with outbox.transaction():
        for number in range(2100):
            outbox.put(TOPICS.evidence("a"), str(number), kind="telemetry")
        outbox.put(TOPICS.events, "raise", kind="alert")
    calls = 0
    while len(wire.sent) == 1:
        drain.fill()
        calls += 1
        assert len(wire.sent) > 1 or drain.wait() == 0.0
    assert calls > 1
    assert wire.sent[1].payload == b"raise"
