"""What the broker still shows of an earlier run, against a real outbox that does, or does not, know of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.alerts.state import KeptAlert
from edge.events import Session
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from edge.requests.orphans import OrphanSweeper
from firmware_cfg.messages import Alert, Event

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
ROOT = "remoteclip/1/bird"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as box:
        yield box


def alert(alert_id: str = "a1", device: str = "bird") -> Alert:
    return Alert(
        device=device,
        sent_at=NOW,
        alert_id=alert_id,
        event_id="e1",
        severity="critical",
        urgency="immediate",
        certainty="observed",
        seq=3,
        boot_id="earlier",
        observed_at=NOW,
        mono_ns=1,
        clock_synced=True,
        frame=7,
        prompt="car",
        prompt_text=("a car",),
        prompt_list_sha256="a" * 64,
        bundle_sha256="b" * 64,
        precision="fp32",
        score=0.9,
        raw_score=2.0,
        threshold=0.5,
        count=4,
        count_kind="count",
        frame_size=(128, 64),
        evidence_sha256="c" * 64,
        raised_at=NOW - timedelta(hours=1),
    )


def sweeper(outbox: Outbox) -> OrphanSweeper:
    session = Session("bird", "5e55", NOW, outbox.boot_id, "f" * 64, "1")
    return OrphanSweeper(outbox, session, prompts=lambda: {"car"})


def retained(item: str, payload: bytes, *, channel: str = "alerts", kept: bool = True) -> IncomingMessage:
    return IncomingMessage(f"{ROOT}/{channel}/{item}", payload, retained=kept)


def send_all(outbox: Outbox) -> None:
    outbox.done(*(m.id for m in outbox.pending(1000)))


def test_an_alert_that_nobody_knows_ends_with_its_own_facts_and_only_once(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.alerts.writer.clock_is_synced", lambda: False)
    sweep = sweeper(outbox)
    before = time.monotonic_ns()
    orphan = retained("a1", alert().to_payload())
    sweep.handle(orphan)
    sweep.handle(orphan)  # the connection was made again before anything was sent
    event, empty = outbox.pending()
    clear = Event.from_payload(event.payload)
    assert (clear.msg_type, clear.alert_id, clear.reason, clear.urgency) == ("clear", "a1", "restart", "past")
    assert not clear.clock_synced  # as it was when the alert was raised
    assert before <= clear.mono_ns <= time.monotonic_ns()
    assert (clear.prompt, clear.severity, clear.evidence_sha256) == ("car", "critical", "c" * 64)
    assert (clear.boot_id, clear.seq, clear.event_id) == (outbox.boot_id, 1, event.event_id)
    assert (empty.topic, empty.payload, empty.retain, empty.kind) == (orphan.topic, b"", True, "alert")
    assert event.kind == "alert"
    send_all(outbox)
    sweep.handle(orphan)  # a copy that was on its way meanwhile, or a broker that forgot
    assert [(m.topic, m.payload) for m in outbox.pending()] == [(orphan.topic, b"")]


def test_what_is_active_here_or_about_to_end_is_left_alone(outbox: Outbox) -> None:
    outbox.keep_alert("active", "state")
    outbox.put(f"{ROOT}/alerts/ending", b"", kind="alert", retain=True)
    before = outbox.counts()
    for alert_id in ("active", "ending"):
        sweeper(outbox).handle(retained(alert_id, alert(alert_id).to_payload()))
    assert outbox.counts() == before


def test_an_active_alert_that_the_broker_forgot_is_put_again(outbox: Outbox) -> None:
    for alert_id in ("known", "forgotten"):
        outbox.keep_alert(alert_id, KeptAlert(alert=alert(alert_id)).to_state())
    sweep = sweeper(outbox)
    for known in ({"known", "forgotten"}, {"known"}):  # two connections: the broker crashed in between
        sweep.begin(sweep.expected())
        for alert_id in known:
            sweep.handle(retained(alert_id, alert(alert_id).to_payload()))
        sweep.end()
    expected = [(f"{ROOT}/alerts/forgotten", alert("forgotten").to_payload(), True)]
    assert [(m.topic, m.payload, m.retain) for m in outbox.pending()] == expected
    sweep.begin(frozenset({"known", "forgotten"}))
    sweep.handle(retained("known", alert("known").to_payload()))
    sweep.end()  # what waits already is not put twice
    assert sum(m.topic.endswith("/forgotten") for m in outbox.pending()) == 1


def test_what_goes_out_while_the_broker_says_what_it_has_is_not_sent_twice(outbox: Outbox) -> None:
    def put(alert_id: str) -> None:
        outbox.put(f"{ROOT}/alerts/{alert_id}", alert(alert_id).to_payload(), kind="alert", retain=True)
        outbox.keep_alert(alert_id, KeptAlert(alert=alert(alert_id)).to_state())

    outbox.keep_alert("forgotten", KeptAlert(alert=alert("forgotten")).to_state())
    put("raised-before")
    sweep = sweeper(outbox)
    sweep.begin(sweep.expected())
    put("raised-now")
    send_all(outbox)  # the broker took both, and a client does not hear its own
    sweep.end()
    assert [m.topic for m in outbox.pending()] == [f"{ROOT}/alerts/forgotten"]


def test_an_alert_that_ends_while_the_broker_says_what_it_has_stays_ended(outbox: Outbox) -> None:
    outbox.keep_alert("a1", KeptAlert(alert=alert()).to_state())
    sweep = sweeper(outbox)
    sweep.begin(sweep.expected())
    outbox.drop_alert("a1")
    sweep.end()
    assert outbox.pending() == []


def test_an_alert_whose_clear_was_taken_is_not_cleared_again_after_a_restart(tmp_path: Path) -> None:
    orphan = retained("a1", alert().to_payload())
    with Outbox(tmp_path / "outbox.db") as outbox:
        sweeper(outbox).handle(orphan)
        send_all(outbox)
    with Outbox(tmp_path / "outbox.db") as outbox:
        sweeper(outbox).handle(orphan)
        assert [(m.topic, m.payload) for m in outbox.pending()] == [(orphan.topic, b"")]


@pytest.mark.parametrize(
    "payload",
    [
        b"{broken",
        b"\xff\xfe",
        alert("another").to_payload(),
        alert(device="other").to_payload(),
        b"x" * 300_000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_alert_of_this_device_is_only_removed(
    outbox: Outbox, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    sweeper(outbox).handle(retained("a1", payload))
    (empty,) = outbox.pending()
    assert (empty.topic, empty.payload, empty.retain) == (f"{ROOT}/alerts/a1", b"", True)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{ROOT}/alerts/a1: emptied: ")
    assert "\n" not in line
    assert len(line) < 400


@pytest.mark.parametrize(
    "message",
    [
        retained("a1", b""),
        retained("a1", alert().to_payload(), kept=False),
        IncomingMessage("remoteclip/1/other/alerts/a1", alert().to_payload(), retained=True),
        IncomingMessage("somewhere/else", b"x", retained=True),
        IncomingMessage(f"{ROOT}/status", b"x", retained=True),
        retained("car", b"{}", channel="counts"),
        retained("boat", b"{}", channel="counts", kept=False),
    ],
)
def test_what_is_no_leftover_is_not_touched(outbox: Outbox, message: IncomingMessage) -> None:
    sweeper(outbox).handle(message)
    assert outbox.counts().queued == 0


def test_counts_of_prompts_that_are_not_in_the_list_are_emptied(outbox: Outbox) -> None:
    boat = retained("boat", b"whatever it is", channel="counts")
    sweeper(outbox).handle(boat)
    sweeper(outbox).handle(boat)
    (empty,) = outbox.pending()
    assert (empty.topic, empty.payload, empty.retain, empty.kind) == (boat.topic, b"", True, "telemetry")


def test_a_publisher_cannot_fill_the_outbox_with_alerts(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge.requests.orphans.MOST_SWEPT", 5)
    sweep = sweeper(outbox)
    with caplog.at_level(logging.WARNING):
        for number in range(9):
            sweep.handle(retained(f"a{number}", alert(f"a{number}").to_payload()))
    assert outbox.counts().queued == 10
    assert sum("as are all after it" in record.getMessage() for record in caplog.records) == 1
