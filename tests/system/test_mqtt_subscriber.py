"""The subscriber, TLS, and the control room's terminal, against a real mosquitto over real sockets."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edge.backoff import Backoff
from edge.mqtt.link import MqttLink
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox
from edge.watch import watch
from firmware_cfg.broker_url import parse_broker_url
from firmware_cfg.errors import BrokerError
from firmware_cfg.messages import Alert, Counts, Status
from firmware_cfg.topics import Topics
from tests.system.waiting import WAIT, until

HERON = Topics("heron-1")


def swift() -> Backoff:
    return Backoff(first=0.05, longest=0.2)


def heron_status(state: Any) -> bytes:
    now = datetime.now(timezone.utc)
    return Status(
        device="heron-1", sent_at=now, state=state, session_id="s1", session_started_at=now, boot_id="b1"
    ).to_payload()


def heron_counts(count: int) -> bytes:
    now = datetime.now(timezone.utc)
    return Counts(
        device="heron-1", sent_at=now, prompt="boat", observed_at=now, frame=1, count=count, score=0.5
    ).to_payload()


def heron_alert() -> bytes:
    now = datetime.now(timezone.utc)
    return Alert(
        device="heron-1",
        sent_at=now,
        alert_id="a1",
        event_id="e1",
        severity="warning",
        urgency="immediate",
        certainty="likely",
        seq=1,
        boot_id="b1",
        observed_at=now,
        raised_at=now,
        mono_ns=1,
        clock_synced=True,
        frame=3,
        prompt="boat",
        prompt_text=("a boat",),
        prompt_list_sha256="0" * 64,
        bundle_sha256="1" * 64,
        precision="fp32",
        score=0.7,
        raw_score=3.0,
        threshold=0.4,
        count=5.0,
        count_kind="count",
        frame_size=(640, 480),
    ).to_payload()


def test_a_subscriber_that_waits_for_its_broker_resubscribes_after_a_restart(
    mosquitto: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    got: list[bytes] = []
    with (
        Subscriber(
            mosquitto.settings, ["#"], lambda topic, payload, _: got.append(payload), backoff=swift()
        ) as subscriber,
        Outbox(tmp_path / "box.sqlite3") as outbox,
    ):
        assert until(lambda: subscriber.state == "offline")
        for text in (b"first", b"second"):
            mosquitto.start()
            assert subscriber.wait_online(WAIT)
            with MqttLink(mosquitto.settings, outbox, device="heron-1", status=heron_status):
                outbox.put(HERON.events, text, kind="alert")
                assert until(lambda wanted=text: wanted in got)  # type: ignore[misc]
            mosquitto.stop()
            assert until(lambda: subscriber.state == "offline")
    assert subscriber.state == "stopped"
    assert caplog.text.count("connection refused") <= 3  # one line a change, not one a try


def test_a_subscriber_with_a_fixed_id_gets_what_it_missed(mosquitto: Any, tmp_path: Path) -> None:
    mosquitto.start()
    got: list[bytes] = []

    def desk() -> Subscriber:
        return Subscriber(
            mosquitto.settings, [HERON.events], lambda _, payload, __: got.append(payload), client_id="desk-1"
        )

    with desk() as first:
        assert first.wait_online(WAIT)
    with Outbox(tmp_path / "box.sqlite3") as outbox:
        outbox.put(HERON.events, "missed", kind="alert")
        with MqttLink(mosquitto.settings, outbox, device="heron-1", status=heron_status):
            assert until(lambda: outbox.counts().queued == 0)
        assert got == []
        with desk() as second:
            assert second.wait_online(WAIT)
            assert until(lambda: got == [b"missed"])


def test_a_handler_that_fails_is_logged_and_the_next_message_still_comes(
    mosquitto: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    got: list[bytes] = []

    def handler(topic: str, payload: bytes, retained: bool) -> None:
        if payload == b"bad":
            raise RuntimeError("handler's mistake")
        got.append(payload)

    with Subscriber(mosquitto.settings, [HERON.events], handler) as subscriber:
        assert subscriber.wait_online(WAIT)
        with Outbox(tmp_path / "box.sqlite3") as outbox:
            for text in ("bad", "good"):
                outbox.put(HERON.events, text, kind="alert")
            with MqttLink(mosquitto.settings, outbox, device="heron-1", status=heron_status):
                assert until(lambda: got == [b"good"])
    assert "handler's mistake" in caplog.text


def test_tls_carries_messages_and_refuses_a_broker_that_no_authority_vouches_for(
    mosquitto: Any, authority: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    certificates = mosquitto.folder / "certs"
    authority.for_broker(certificates)
    mosquitto.listener += [
        f"certfile {certificates / 'broker.crt'}",
        f"keyfile {certificates / 'broker.key'}",
    ]
    mosquitto.start()
    address = parse_broker_url(f"mqtts://127.0.0.1:{mosquitto.port}")
    with Outbox(tmp_path / "box.sqlite3") as outbox:
        outbox.put(HERON.events, "secret cargo", kind="alert")
        stranger = MqttLink(
            BrokerSettings(address), outbox, device="heron-1", status=heron_status, backoff=swift()
        )
        with stranger:
            assert until(lambda: "certificate is not trusted" in stranger.problem)
        assert outbox.counts().alert == 1
        trusted = BrokerSettings(address, ca=certificates / "ca.crt")
        with MqttLink(trusted, outbox, device="heron-1", status=heron_status) as link:
            assert link.wait_online(WAIT)
            assert until(lambda: outbox.counts().queued == 0)


def run_watch(broker: BrokerSettings, console: Console, **options: Any) -> Callable[[], Any]:
    """Starts `watch` in a thread; the function returned stops it and gives the state it ended with."""
    stop, results = threading.Event(), []
    thread = threading.Thread(
        target=lambda: results.append(watch(broker, console=console, stop=stop, **options)), daemon=True
    )
    thread.start()

    def finish() -> Any:
        stop.set()
        thread.join(WAIT)
        assert not thread.is_alive()
        return results[0]

    return finish


@pytest.mark.parametrize("style", ["table", "lines", "json"])
def test_watch_shows_what_a_drone_says(mosquitto: Any, tmp_path: Path, style: str) -> None:
    mosquitto.start()
    screen = io.StringIO()
    console = Console(file=screen, width=120, height=50, force_terminal=style == "table")
    finish = run_watch(mosquitto.settings, console, json_lines=style == "json")
    with Outbox(tmp_path / "box.sqlite3") as outbox:
        outbox.put(HERON.counts("boat"), heron_counts(7), kind="telemetry", retain=True)
        with MqttLink(mosquitto.settings, outbox, device="heron-1", status=heron_status):
            wanted = {"table": "boat", "lines": "heron-1 is online", "json": '"count": 7'}[style]
            assert until(lambda: wanted in screen.getvalue())
        assert until(lambda: "stopped" in screen.getvalue())
    state = finish()
    assert state.devices["heron-1"].counts["boat"].count == 7
    assert state.devices["heron-1"].status.state == "stopped"
    if style == "json":
        lines = [json.loads(line) for line in screen.getvalue().splitlines()]
        assert {line["channel"] for line in lines} == {"status", "counts"}
        assert all(line["device"] == "heron-1" for line in lines)


def test_watch_forgets_an_alert_that_was_cleared_while_it_was_cut_off(mosquitto: Any, tmp_path: Path) -> None:
    """A broker that restarts without its retained messages stands for whatever ended the alert unheard."""
    mosquitto.extra.append("persistence false")
    mosquitto.start()
    screen = io.StringIO()
    finish = run_watch(mosquitto.settings, Console(file=screen), json_lines=True)
    with Outbox(tmp_path / "box.sqlite3") as outbox:
        outbox.put(HERON.alert("a1"), heron_alert(), kind="alert", retain=True)
        with MqttLink(mosquitto.settings, outbox, device="heron-1", status=heron_status, backoff=swift()):
            assert until(lambda: '"alert_id": "a1"' in screen.getvalue())
            before = screen.getvalue().count('"online"')
            mosquitto.stop()
            mosquitto.start()
            assert until(lambda: screen.getvalue().count('"online"') > before)
    assert finish().devices["heron-1"].alerts == {}


def test_watch_without_a_broker_says_so_and_ends_in_time(mosquitto: Any) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=200, height=50, force_terminal=True)
    finish = run_watch(mosquitto.settings, console)
    assert until(lambda: "connection refused" in screen.getvalue())
    assert finish().devices == {}
    assert "unknown, not connected" in screen.getvalue()
    assert "No active alerts" not in screen.getvalue()
    with pytest.raises(BrokerError, match=r"^never connected: "):
        watch(mosquitto.settings, console=Console(file=io.StringIO()), seconds=0.1)
