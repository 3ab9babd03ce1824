"""What operators do about an alert is kept with it, once, through updates and crashes, until it clears."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.alerts.state import KeptAlert
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from edge.requests.acts import AlertActs
from firmware_cfg.messages import Alert, AlertAck, AlertAct
from firmware_cfg.messages.ack import MOST_ACTS, handling, merged
from tests.edge import test_reporter as flight
from tests.edge.requests.test_orphans import alert

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
TOPIC = "remoteclip/1/bird/alerts/a1"


def act(action: Any = "acknowledge", by: str = "ann", seconds: int = 0, **changes: Any) -> AlertAct:
    return AlertAct(action=action, by=by, at=NOW + timedelta(seconds=seconds), **changes)


def ack(act: AlertAct, topic: str = f"{TOPIC}/ack", retained: bool = False) -> IncomingMessage:
    return IncomingMessage(topic, AlertAck.of(act).to_payload(), retained)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as box:
        box.keep_alert("a1", KeptAlert(alert=alert()).to_state())
        yield box


def queued(outbox: Outbox) -> list[Alert]:
    assert {(message.topic, message.retain) for message in outbox.pending()} <= {(TOPIC, True)}
    return [Alert.from_payload(message.payload) for message in outbox.pending()]


def test_an_act_is_kept_with_the_alert_and_retained_at_the_broker(outbox: Outbox) -> None:
    AlertActs(outbox, "bird").handle(ack(act()))
    (told,) = queued(outbox)
    assert told.acts == (act(),)
    assert told.model_copy(update={"acts": (), "sent_at": NOW}) == alert()
    assert KeptAlert.from_state(outbox.kept_alerts()["a1"]).alert.acts == (act(),)


def test_an_act_that_comes_twice_is_told_once(outbox: Outbox) -> None:
    acts = AlertActs(outbox, "bird")
    acts.handle(ack(act()))
    outbox.done(*(message.id for message in outbox.pending()))
    acts.handle(ack(act()))
    assert queued(outbox) == []


@pytest.mark.parametrize(
    "message",
    [
        ack(act(), "remoteclip/1/bird/alerts/unknown/ack"),
        ack(act(), retained=True),
        IncomingMessage(f"{TOPIC}/ack", b"{}", False),
        IncomingMessage(f"{TOPIC}/ack", b"x" * 10_000, False),
        IncomingMessage(
            f"{TOPIC}/ack", b'{"action": "acknowledge", "by": "", "at": "2026-01-01T00:00:00Z"}', False
        ),
    ],
)
def test_what_is_no_act_of_an_active_alert_changes_nothing(outbox: Outbox, message: IncomingMessage) -> None:
    AlertActs(outbox, "bird").handle(message)
    assert queued(outbox) == []


def test_the_longest_comment_fits(outbox: Outbox) -> None:
    comment = act("comment", text="\N{GRINNING FACE}" * 1000)
    AlertActs(outbox, "bird").handle(
        IncomingMessage(
            f"{TOPIC}/ack",
            json.dumps({**json.loads(AlertAck.of(comment).to_payload())}, ensure_ascii=False).encode(),
            False,
        )
    )
    assert queued(outbox)[0].acts == (comment,)


acts = st.lists(
    st.builds(
        act,
        st.sampled_from(["acknowledge", "mute", "comment"]),
        st.sampled_from(["ann", "bob"]),
        st.integers(0, 100),
        text=st.sampled_from(["", "x", "y"]),
    ),
    max_size=60,
)


@given(acts, st.randoms(use_true_random=False))
def test_whoever_hears_the_same_acts_agrees_on_what_they_come_to(heard: list[AlertAct], order: Any) -> None:
    shuffled = [*heard, *heard[:5]]
    order.shuffle(shuffled)
    together = merged((), heard)
    assert merged((), shuffled) == together
    assert len(together) <= MOST_ACTS
    every = handling(sorted(set(heard), key=lambda each: (each.at, each.by, each.action, each.text)))
    kept = handling(together)
    assert (kept.acknowledged_by, kept.acknowledged_at) == (every.acknowledged_by, every.acknowledged_at)
    assert (kept.muted_by, kept.muted_until) == (every.muted_by, every.muted_until)


def test_an_act_outlives_updates_and_a_crash_and_goes_with_the_clear(tmp_path: Path) -> None:
    def retained(outbox: Outbox) -> list[Alert | None]:
        found = flight.queued(outbox, "alerts/a1")
        outbox.done(*(message.id for message in outbox.pending()))
        return [Alert.from_payload(payload) if payload else None for payload in found]

    with Outbox(tmp_path / "outbox.db") as outbox:
        first = flight.reporter_of(outbox)
        first.start(flight.CARS)
        first.report(flight.result(3), [flight.step("raise")])
        first.stop()  # the alert stays: this is what a crash leaves
        AlertActs(outbox, "bird").handle(ack(act()))
        assert [each.acts for each in retained(outbox) if each] == [(), (act(),)]
        second = flight.reporter_of(outbox)
        second.start(flight.CARS, resumed=["a1"])
        second.report(flight.result(5), [flight.step("update")])
        second.report(flight.result(7), [flight.step("clear")])
        second.stop()
        updated, cleared = retained(outbox)
        assert updated is not None
        assert (updated.acts, cleared) == ((act(),), None)
        AlertActs(outbox, "bird").handle(ack(act("comment", text="too late")))
        assert retained(outbox) == []
