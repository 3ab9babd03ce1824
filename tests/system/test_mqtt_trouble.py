"""Thin links, refusals that are mended, and messages that a broker cannot bear, against a real mosquitto."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults.proxy import Proxy
from edge.backoff import Backoff
from edge.mqtt import reconnect
from edge.mqtt.link import MqttLink
from edge.mqtt.settings import BrokerSettings
from edge.outbox.file import OutboxDamagedError
from edge.outbox.outbox import Outbox
from firmware_cfg.topics import Topics
from tests.system.waiting import WAIT, until

TOPICS = Topics("plover-1")
PICTURE = TOPICS.evidence("a" * 64)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.sqlite3") as box:
        yield box


def link_to(settings: BrokerSettings, outbox: Outbox, **options: Any) -> MqttLink:
    options.setdefault("backoff", Backoff(first=0.02, longest=0.05))
    options.setdefault("backlog_rate", 1000.0)
    return MqttLink(settings, outbox, device=TOPICS.device, status=lambda state: state, **options)


def put_event(outbox: Outbox, alert: str, kind: str) -> bytes:
    payload = f'{{"alert_id":"{alert}","msg_type":"{kind}"}}'.encode()
    outbox.put(TOPICS.events, payload, kind="alert", event_id=f"{alert}-{kind}")
    return payload


def forbid(mosquitto: Any, *topics: str) -> None:
    """What a device may write from the next reload on: all but these topics."""
    every = {TOPICS.status, TOPICS.events, TOPICS.health, TOPICS.alert("a")}
    rules = [f"topic write {topic}" for topic in sorted(every - set(topics))]
    (mosquitto.folder / "rules").write_text("\n".join(["topic read #", *rules, ""]))


def reload(mosquitto: Any) -> None:
    before = mosquitto.log.count("Reloading config")
    os.kill(mosquitto._process.process.pid, signal.SIGHUP)
    assert until(lambda: mosquitto.log.count("Reloading config") > before)


@pytest.fixture
def ruled(mosquitto: Any) -> Any:
    """A broker whose rules are what `forbid` said last before its start or a `reload`."""
    mosquitto.extra.append(f"acl_file {mosquitto.folder / 'rules'}")
    return mosquitto


def test_a_picture_on_a_thin_link_is_waited_for_as_long_as_its_bytes_may_take(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    proxy = Proxy(mosquitto.port)
    try:
        settings = BrokerSettings.from_url(f"mqtt://127.0.0.1:{proxy.port}")
        with link_to(settings, outbox, ack_timeout=0.2) as link:
            assert link.wait_online(WAIT)
            proxy.rate = 65536.0  # a second for the picture, several times the time for an acknowledgement
            outbox.put(PICTURE, bytes(65536), kind="telemetry")
            assert until(lambda: not outbox.counts().queued)
            proxy.rate = None
    finally:
        proxy.close()
    assert next(payload for topic, payload, _ in inbox.messages if topic == TOPICS.status) == b"online"
    assert len([topic for topic, _, _ in inbox.messages if topic == PICTURE]) == 1


def test_alerts_overtake_pictures_and_few_of_those_are_in_flight_at_once(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    for number in range(4):
        outbox.put(TOPICS.evidence(f"{number}"), bytes(40_000), kind="telemetry")
    outbox.put(TOPICS.health, b"state, which is no picture", kind="telemetry", retain=True)
    raised = put_event(outbox, "a", "raise")
    put: list[bytes] = []

    def stamp(message: Any) -> bytes:
        if message.topic == TOPICS.evidence("1"):
            put.append(put_event(outbox, "b", "raise"))
        return bytes(message.payload)

    with link_to(mosquitto.settings, outbox, stamp=stamp):
        assert until(lambda: not outbox.counts().queued)
    received = inbox.wait_payload(TOPICS.status, b"stopped")
    assert [topic for topic, _, _ in received] == [
        TOPICS.status,
        TOPICS.health,
        TOPICS.events,
        TOPICS.evidence("0"),
        TOPICS.evidence("1"),
        TOPICS.events,
        TOPICS.evidence("2"),
        TOPICS.evidence("3"),
        TOPICS.status,
    ]
    assert [payload for topic, payload, _ in received if topic == TOPICS.events] == [raised, *put]


def test_a_refused_raise_is_tried_again_on_the_same_connection_and_its_clear_waits_behind_it(
    ruled: Any, subscribe: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    forbid(ruled, TOPICS.events)
    ruled.start()
    inbox = subscribe(ruled.settings)
    wanted = [put_event(outbox, "a", "raise")]
    with link_to(ruled.settings, outbox, retry_time=0.2):
        assert until(lambda: "refused: Not authorized; kept in the outbox" in caplog.text)
        wanted.append(put_event(outbox, "a", "update"))
        forbid(ruled)
        reload(ruled)
        wanted.append(put_event(outbox, "a", "clear"))
        inbox.wait_payload(TOPICS.events, wanted[-1])
        assert until(lambda: not outbox.counts().queued)
    assert [payload for topic, payload, _ in inbox.messages if topic == TOPICS.events] == wanted
    assert ruled.log.count(f"as remoteclip-{TOPICS.device} (p5") == 1


def test_what_was_sent_ahead_of_a_refused_raise_comes_again_after_it(
    ruled: Any, subscribe: Any, outbox: Outbox
) -> None:
    """The rules are mended while raise and clear are both on their way, and only the raise is refused."""
    forbid(ruled, TOPICS.alert("a"))
    ruled.start()
    inbox = subscribe(ruled.settings)
    topic = TOPICS.alert("a")
    outbox.put(topic, b"active", kind="alert", retain=True)
    outbox.put(topic, b"", kind="alert", retain=True)

    def stamp(message: Any) -> bytes:
        if not message.payload and not ruled.log.count("Reloading config"):
            assert until(lambda: "Denied PUBLISH" in ruled.log)
            forbid(ruled)
            reload(ruled)
        return bytes(message.payload)

    with link_to(ruled.settings, outbox, stamp=stamp, retry_time=0.2, backlog_rate=1e9):
        assert until(lambda: not outbox.counts().queued)
    inbox.wait_payload(TOPICS.status, b"stopped")
    assert [payload for each, payload, _ in inbox.messages if each == topic] == [b"", b"active", b""]
    assert not [each for each, _, _ in subscribe(ruled.settings, topic).messages]


def test_a_refused_status_is_said_again_once_the_rules_are_mended(
    ruled: Any, subscribe: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    forbid(ruled, TOPICS.status)
    ruled.start()
    inbox = subscribe(ruled.settings)
    with link_to(ruled.settings, outbox, retry_time=0.2):
        assert until(lambda: "nobody sees that this device is online" in caplog.text)
        forbid(ruled)
        reload(ruled)
        inbox.wait_payload(TOPICS.status, b"online")


def test_a_picture_at_which_the_broker_hangs_up_is_dropped_and_the_alerts_behind_it_arrive(
    mosquitto: Any, subscribe: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    outbox.put(PICTURE, bytes(2 << 20), kind="telemetry")
    wanted = [put_event(outbox, "a", "raise")]
    with link_to(replace(mosquitto.settings, first_version="3.1.1"), outbox):
        inbox.wait_payload(TOPICS.events, wanted[0])
        assert until(lambda: not outbox.counts().queued)
        wanted.append(put_event(outbox, "a", "clear"))
        inbox.wait_payload(TOPICS.events, wanted[1])
    assert f"{PICTURE}: connections end with this message of 2097152 bytes; dropped" in caplog.text
    assert f"the connection ends with {PICTURE} of 2097152 bytes" in caplog.text
    assert "used twice" not in caplog.text


def test_an_alert_at_which_the_broker_hangs_up_is_kept_and_holds_up_only_its_own_events(
    mosquitto: Any, subscribe: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    before = put_event(outbox, "c", "raise")
    giant = b'{"alert_id":"a","msg_type":"raise","more":"' + bytes(2 << 20)
    poison = outbox.put(TOPICS.events, giant, kind="alert", event_id="a-raise")
    put_event(outbox, "a", "clear")
    after = put_event(outbox, "b", "raise")
    with link_to(replace(mosquitto.settings, first_version="3.1.1"), outbox) as link:
        inbox.wait_payload(TOPICS.events, after)
        assert until(lambda: outbox.counts().queued == 2)
        assert until(lambda: link.state == "online")
    assert [message.id for message in outbox.pending()] == [poison, poison + 1]
    events = [payload for topic, payload, _ in inbox.messages if topic == TOPICS.events]
    assert list(dict.fromkeys(events)) == [before, after]
    assert "kept in the outbox, tried again behind the others" in caplog.text


@pytest.mark.parametrize("spare", [0, 6])
def test_correlation_data_counts_in_the_size_that_the_broker_bears(
    mosquitto: Any, subscribe: Any, outbox: Outbox, spare: int
) -> None:
    mosquitto.extra.append("max_packet_size 20000")
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    topic, correlation = "elsewhere/7", bytes(17_000)
    body = bytes(20_000 - 10 - len(topic) - len(correlation) - spare)
    outbox.put(topic, body, kind="telemetry", correlation=correlation)
    outbox.put(topic, b"after it", kind="telemetry")
    with link_to(mosquitto.settings, outbox):
        received = inbox.wait_payload(topic, b"after it")
    assert ((topic, body, False) in received) is (spare == 6)
    statuses = [payload for each, payload, _ in inbox.messages if each == TOPICS.status]
    assert b"offline" not in statuses
    assert statuses.count(b"online") == 1


def flap(outbox: Outbox, proxy: Proxy, inbox: Any, times: int) -> None:
    """Cuts the connection soon after it was made, again and again."""
    settings = BrokerSettings.from_url(f"mqtt://127.0.0.1:{proxy.port}")
    birth = (TOPICS.status, b"online", False)
    with link_to(settings, outbox) as link:
        for number in range(times + 1):
            inbox.wait_for(lambda got: got.count(birth) > number)  # noqa: B023
            assert until(lambda: link.state == "online")
            if number < times:
                proxy.cut()


@pytest.mark.parametrize(("steady", "lines"), [(10.0, (1, 2, 2)), (0.0, (6, 1, 5))])
def test_a_link_that_flaps_says_each_line_once_until_a_connection_lasts(
    mosquitto: Any,
    subscribe: Any,
    outbox: Outbox,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    steady: float,
    lines: tuple[int, int, int],
) -> None:
    monkeypatch.setattr(reconnect, "_STEADY", steady)
    caplog.set_level(logging.INFO)
    mosquitto.start()
    proxy = Proxy(mosquitto.port)
    try:
        flap(outbox, proxy, subscribe(mosquitto.settings), 5)
    finally:
        proxy.close()
    told = [record.getMessage() for record in caplog.records]
    connected = [line for line in told if "connected with MQTT 5" in line]
    ended = [line for line in told if "alerts are kept in the outbox" in line]
    assert (len(connected), len(set(ended)), len(ended)) == lines


def test_a_link_that_flapped_says_that_it_is_connected_once_it_lasts(
    mosquitto: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnect, "_STEADY", 0.3)
    caplog.set_level(logging.INFO)
    mosquitto.start()
    proxy = Proxy(mosquitto.port)
    try:
        with link_to(BrokerSettings.from_url(f"mqtt://127.0.0.1:{proxy.port}"), outbox) as link:
            assert link.wait_online(WAIT)
            proxy.cut()
            assert until(lambda: caplog.text.count("connected with MQTT 5") == 2)
    finally:
        proxy.close()


def test_every_connection_is_told_of_once_and_a_mistake_of_who_is_told_does_not_end_it(
    mosquitto: Any, subscribe: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    proxy = Proxy(mosquitto.port)
    statuses: list[int] = []

    def told() -> None:
        statuses.append(sum(topic == TOPICS.status for topic, _, _ in inbox.messages))
        outbox.put(TOPICS.prompts_state, f"state {len(statuses)}", kind="telemetry", retain=True)
        raise RuntimeError("a mistake")

    try:
        settings = BrokerSettings.from_url(f"mqtt://127.0.0.1:{proxy.port}")
        with link_to(settings, outbox, on_connect=told) as link:
            inbox.wait_payload(TOPICS.prompts_state, b"state 1")
            assert link.state == "online"
            proxy.cut()
            inbox.wait_payload(TOPICS.prompts_state, b"state 2")
    finally:
        proxy.close()
    assert len(statuses) == 2
    assert "a mistake" in caplog.text


def test_an_outbox_that_goes_bad_is_handed_to_who_can_restart_and_does_not_hinder_the_stop(
    mosquitto: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    with outbox.transaction():
        for number in range(50):
            put_event(outbox, f"a{number}", "raise" + "!" * 3000)
    outbox._file.all("PRAGMA wal_checkpoint(TRUNCATE)")
    with outbox.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (outbox.path.stat().st_size - 4096))
    outbox._file.run("PRAGMA shrink_memory")
    mosquitto.start()
    failures: list[Exception] = []
    link = link_to(mosquitto.settings, outbox, on_failure=failures.append)
    link.start()
    try:
        assert until(lambda: bool(failures))
        assert isinstance(link.failure, OutboxDamagedError)
        assert until(lambda: caplog.text.count("malformed") > 0)
    finally:
        assert link.stop() == 0
    assert failures == [link.failure]
    assert "nobody knows how many messages are unsent" in caplog.text
