"""Refusals in the log: the first at once, the others counted."""

from __future__ import annotations

import logging

import pytest

from edge.requests.refusals import Refusals


def test_the_first_is_said_and_those_that_follow_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusals = Refusals(logging.getLogger("test"), quiet_s=60.0, clock=lambda: now[0])
    for _ in range(5):
        refusals.say("topic: refused: 1 100%")
        now[0] += 14.0
    refusals.say("topic: refused: 2")
    now[0] += 120.0
    refusals.say("topic: refused: 3")
    assert [record.getMessage() for record in caplog.records] == [
        "topic: refused: 1 100%",
        "topic: refused: 2 (4 more were refused since the last such line)",
        "topic: refused: 3",
    ]
