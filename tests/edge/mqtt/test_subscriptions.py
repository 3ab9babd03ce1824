"""Subscriptions that a broker refuses; tests/system/test_mqtt_requests.py has a real one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import pytest

from edge.mqtt.connection import Connection
from edge.mqtt.messages import Acknowledged
from edge.mqtt.subscriptions import SubscribeRight, Subscriptions
from firmware_cfg.topics import Topics

TOPICS = Topics("heron-1")


class Wire:
    """Numbers what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def subscribe(self, filters: Sequence[str], *, own: bool = True) -> int:
        self.asked.append(tuple(filters))
        return len(self.asked)

    def unsubscribe(self, filters: Sequence[str]) -> None:
        self.asked.append(())


def test_what_is_refused_and_only_that_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    wire, sweeps = Wire(), list[bool]()
    right = SubscribeRight(TOPICS)
    subscriptions = Subscriptions(
        cast(Connection, wire), TOPICS, right, sweeps.append, sweep_time=0.0, retry_time=0.0
    )
    subscriptions.ask()
    subscriptions.book([Acknowledged(1, None), Acknowledged(2, "Not authorized")])
    for mid in (3, 4):
        assert subscriptions.wait() == 0.0
        subscriptions.tick()
        subscriptions.book([Acknowledged(mid, "Not authorized" if mid == 3 else None)])
    subscriptions.tick()
    assert subscriptions.wait() is None
    assert not subscriptions.unanswered
    assert wire.asked == [TOPICS.requests, TOPICS.left_behind, TOPICS.left_behind, TOPICS.left_behind, ()]
    assert sweeps == [True, True, True, False]
    assert len(caplog.records) == 1
