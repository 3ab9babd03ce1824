"""Requests that came over MQTT find their handler, whatever the one before did."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from edge.mqtt.messages import IncomingMessage
from edge.outbox.file import OutboxDamagedError
from edge.requests.desk import MOST_WAITING, RequestDesk, answer_topic
from firmware_cfg.errors import OutboxError

ROOT = "remoteclip/1/bird"
PATIENCE_S = 30.0


def request(topic: str, payload: bytes = b"", response_topic: str | None = None) -> IncomingMessage:
    return IncomingMessage(topic, payload, False, response_topic)


class Desk:
    """Collects what its one handler got, for the channel prompts/set."""

    def __init__(self, act: Callable[[IncomingMessage], None] = lambda message: None) -> None:
        self.handled: list[bytes] = []
        self.last = threading.Event()
        self._act = act

    def __call__(self, message: IncomingMessage) -> None:
        if message.payload == b"last":
            self.last.set()
            return
        self.handled.append(message.payload)
        self._act(message)


def test_each_channel_has_its_handler_and_other_devices_none() -> None:
    sets, asks = Desk(), Desk()
    with RequestDesk("bird", {"prompts/set": sets, "alerts": asks}) as desk:
        desk.take(request(f"{ROOT}/prompts/set", b"one"))
        desk.take(request("remoteclip/1/other/prompts/set", b"not ours"))
        desk.take(request(f"{ROOT}/prompts/desired", b"nobody's"))
        desk.take(request("somewhere/else", b"no topic of ours"))
        desk.take(request(f"{ROOT}/alerts/a1", b"two"))
        desk.take(request(f"{ROOT}/prompts/set", b"last"))
        assert sets.last.wait(PATIENCE_S)
    assert (sets.handled, asks.handled) == ([b"one"], [b"two"])


@pytest.mark.parametrize("error", [OutboxError("outbox.db: disk full"), RuntimeError("a mistake of ours")])
def test_a_request_that_fails_is_said_and_the_next_is_answered(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: IncomingMessage) -> None:
        raise error

    handler = Desk(fail)
    with RequestDesk("bird", {"prompts/set": handler}) as desk:
        desk.take(request(f"{ROOT}/prompts/set", b"one"))
        desk.take(request(f"{ROOT}/prompts/set", b"two"))
        desk.take(request(f"{ROOT}/prompts/set", b"last"))
        assert handler.last.wait(PATIENCE_S)
    assert handler.handled == [b"one", b"two"]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2
    assert str(error) in caplog.text


def test_an_outbox_that_goes_bad_is_told_to_who_can_end_the_flight(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Exception] = []
    errors = [OutboxError("disk full"), OutboxDamagedError("malformed"), RuntimeError("ours")]

    def fail(message: IncomingMessage) -> None:
        raise errors[int(message.payload)]

    handler = Desk(fail)
    with RequestDesk("bird", {"prompts/set": handler}, on_failure=told.append) as desk:
        for number in range(3):
            desk.take(request(f"{ROOT}/prompts/set", b"%d" % number))
        desk.take(request(f"{ROOT}/prompts/set", b"last"))
        assert handler.last.wait(PATIENCE_S)
    assert told == [errors[1]]
    assert "malformed" in caplog.text


def test_a_flood_is_bounded_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def wait(message: IncomingMessage) -> None:
        busy.set()
        go_on.wait(PATIENCE_S)

    handler = Desk(wait)
    with RequestDesk("bird", {"prompts/set": handler}) as desk:
        desk.take(request(f"{ROOT}/prompts/set", b"first"))
        assert busy.wait(PATIENCE_S)
        for _ in range(MOST_WAITING + 50):
            desk.take(request(f"{ROOT}/prompts/set", b"x"))
        called = threading.Event()
        desk.call("what the drone itself wants", called.set)
        go_on.set()
        assert called.wait(PATIENCE_S)
        while len(handler.handled) < MOST_WAITING + 1:
            go_on.wait()
        desk.take(request(f"{ROOT}/prompts/set", b"last"))
        assert handler.last.wait(PATIENCE_S)
    assert len(handler.handled) == MOST_WAITING + 1
    assert caplog.text.count("some are dropped") == 1


def test_giants_do_not_pile_up() -> None:
    busy, go_on = threading.Event(), threading.Event()

    def wait(message: IncomingMessage) -> None:
        busy.set()
        go_on.wait(PATIENCE_S)

    handler = Desk(wait)
    with RequestDesk("bird", {"prompts/set": handler}) as desk:
        desk.take(request(f"{ROOT}/prompts/set", b"first"))
        assert busy.wait(PATIENCE_S)
        for _ in range(3):
            desk.take(request(f"{ROOT}/prompts/set", b"x" * (7 << 20)))
        go_on.set()
        desk.take(request(f"{ROOT}/prompts/set", b"last"))
        assert handler.last.wait(PATIENCE_S)
    assert len(handler.handled) == 3


@pytest.mark.parametrize(
    ("wanted", "topic"),
    [
        ("answers/to/me", "answers/to/me"),
        (None, "here"),
        ("", "here"),
        ("answers/#", "here"),
        ("answers/+/x", "here"),
        ("answers\0", "here"),
        ("$SYS/broker", "here"),
        ("remoteclip/1/bird/status", "here"),
    ],
)
def test_an_answer_goes_where_it_is_wanted_but_never_passes_for_a_drones_own_word(
    wanted: str | None, topic: str
) -> None:
    assert answer_topic(request("t", response_topic=wanted), "here") == topic
