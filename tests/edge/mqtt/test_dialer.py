"""Which version of MQTT is spoken; tests/system has brokers of both kinds."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from edge.mqtt.connection import Connection, ConnectionPlan
from edge.mqtt.dialer import Dialer
from edge.mqtt.messages import OutgoingMessage
from edge.mqtt.refusals import VersionError
from edge.mqtt.settings import BrokerSettings

SILENCE = VersionError("does not answer", silence=True)
HANG_UP = VersionError("hangs up")
REFUSAL = VersionError("speaks neither", lasting=True)


def spoken(monkeypatch: pytest.MonkeyPatch, answers: list[VersionError | None]) -> list[str]:
    """The versions of one connection after the other, where MQTT 5 finds these answers and 3.1.1 consent."""
    left = iter(answers)

    def open_(self: Any) -> None:
        error = next(left) if self.version == "5" else None
        if error is not None:
            raise error

    monkeypatch.setattr(Connection, "open", open_)
    plan = ConnectionPlan("drone", lambda *_: None)
    dialer = Dialer(BrokerSettings.from_url("mqtt://broker.example"), plan)
    return [dialer.dial().version for _ in answers]


@pytest.mark.parametrize(
    ("username", "will", "told"),
    [("viewer", True, 1), ("kestrel-2", True, 0), (None, True, 0), ("viewer", False, 0)],
)
def test_a_device_that_logs_in_under_another_name_is_told_so_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    username: str | None,
    will: bool,
    told: int,
) -> None:
    monkeypatch.setattr(Connection, "open", lambda self: None)
    caplog.set_level(logging.INFO)
    last_will = (lambda: OutgoingMessage("status", b"")) if will else None
    plan = ConnectionPlan("remoteclip-kestrel-2", lambda *_: None, last_will)
    dialer = Dialer(replace(BrokerSettings.from_url("mqtt://broker.example"), username=username), plan)
    for _ in range(2):
        dialer.dial()
    line = "logs in as 'viewer', but the device is 'kestrel-2': where the acl goes by the id"
    assert [line in record.getMessage() for record in caplog.records] == [True] * told


def test_one_answer_that_came_late_does_not_cost_mqtt_5(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [SILENCE, SILENCE, None, SILENCE, None]
    assert spoken(monkeypatch, answers) == ["3.1.1", "3.1.1", "5", "3.1.1", "5"]


def test_a_broker_that_never_answers_to_mqtt_5_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spoken(monkeypatch, [SILENCE, SILENCE, SILENCE, None]) == ["3.1.1"] * 4


def test_a_broker_that_hung_up_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spoken(monkeypatch, [HANG_UP] * 5 + [None]) == ["3.1.1"] * 5 + ["5"]


def test_what_the_broker_said_of_the_version_stays_true(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spoken(monkeypatch, [REFUSAL, None]) == ["3.1.1"] * 2
