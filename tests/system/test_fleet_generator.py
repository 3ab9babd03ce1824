"""The fleet generator: its packets are the daemon's, its payloads true messages, its figures add up."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import firmware_cfg
from benchmarks.fleet import wire
from benchmarks.fleet.__main__ import main
from benchmarks.fleet.fleet import Fleet, Options
from benchmarks.fleet.outbox import Outbox, Waiting
from benchmarks.fleet.payloads import Script, Template, load_fleet_list
from benchmarks.fleet.phases import calm, late_room, measure, storm, wait_for
from edge.broker import find_mosquitto
from edge.fleet import decode
from edge.mqtt.connection import MAX_INCOMING, Connection, ConnectionPlan
from edge.mqtt.messages import OutgoingMessage
from edge.mqtt.settings import BrokerSettings
from firmware_cfg.broker_url import parse_broker_url
from firmware_cfg.messages import Alert, Counts, Event, Health, PromptsState, Status

PROMPTS = Path(firmware_cfg.__file__).parent / "prompts" / "traffic.yaml"
WILL = OutgoingMessage("remoteclip/1/kestrel-1/status", b'{"state": "offline"}', retain=True)
LONG = b"x" * 300  # longer than one byte of length tells
CONNACKS = {"5": b"\x20\x06\x00\x00\x03\x21\x00\x14", "3.1.1": b"\x20\x02\x00\x00"}


@pytest.fixture
def broker() -> Iterator[socket.socket]:
    """Somebody who listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def packets(connection: socket.socket, buffer: bytearray, number: int) -> list[tuple[int, bytes]]:
    """The next packets that come."""
    found: list[tuple[int, bytes]] = []
    while len(found) < number:
        data = connection.recv(65536)
        assert data, "the other side has hung up"
        buffer += data
        found += wire.split(buffer)
    return found


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_every_packet_is_the_one_that_the_daemon_sends(
    broker: socket.socket, version: wire.Version, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    address = parse_broker_url(f"mqtt://127.0.0.1:{broker.getsockname()[1]}")
    settings = BrokerSettings(address, username="kestrel-1", password_file=password)
    daemon = Connection(
        settings, version, ConnectionPlan("remoteclip-kestrel-1", lambda *_: None, lambda: WILL)
    )
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(daemon.open)
        connection, _ = broker.accept()
        connection.settimeout(60)
        buffer = bytearray()
        hello = wire.Hello(
            client_id="remoteclip-kestrel-1",
            keepalive=30,
            will=(WILL.topic, WILL.payload),
            max_packet=MAX_INCOMING,
            username="kestrel-1",
            password=b"secret",
        )
        expected = bytearray(wire.connect(hello, version))
        assert packets(connection, buffer, 1) == list(wire.split(expected))
        connection.sendall(CONNACKS[version])
        opened.result()
    first = daemon.publish(OutgoingMessage(WILL.topic, LONG, retain=True))
    second = daemon.publish(OutgoingMessage("remoteclip/1/kestrel-1/events", b"{}"))
    third = daemon.subscribe(["a/b", "c/+"], own=False)
    fourth = daemon.subscribe(["d"])
    daemon.unsubscribe(["a/b"])
    expected = bytearray(
        wire.publish(WILL.topic.encode(), LONG, first, version, retain=True)
        + wire.publish(b"remoteclip/1/kestrel-1/events", b"{}", second, version)
        + wire.subscribe(third, ["a/b", "c/+"], version, own=False)
        + wire.subscribe(fourth, ["d"], version)
        + wire.unsubscribe(fourth + 1, ["a/b"], version)
    )
    assert packets(connection, buffer, 5) == list(wire.split(expected))
    daemon.abort()
    daemon.release()
    connection.close()


@given(
    st.lists(st.tuples(st.text("ab/", min_size=1, max_size=200), st.binary(max_size=300), st.booleans())),
    st.sampled_from(["5", "3.1.1"]),
    st.integers(1, 500),
)
def test_what_was_published_is_found_again_however_the_network_cuts_it(
    messages: list[tuple[str, bytes, bool]], version: wire.Version, piece: int
) -> None:
    sent = b"".join(
        wire.publish(topic.encode(), payload, number, version, retain=retain)
        for number, (topic, payload, retain) in enumerate(messages, start=1)
    )
    buffer, found = bytearray(), []
    for at in range(0, len(sent), piece):
        buffer += sent[at : at + piece]
        found += [wire.delivery(first, body, version) for first, body in wire.split(buffer)]
    assert [(each.topic.decode(), each.payload, each.retained) for each in found] == messages
    assert [int.from_bytes(each.mid, "big") for each in found] == list(range(1, len(messages) + 1))
    assert not buffer


def test_the_broker_says_how_many_messages_it_bears() -> None:
    assert wire.receive_maximum(CONNACKS["5"][2:], "5", 50) == 20
    assert wire.receive_maximum(CONNACKS["5"][2:], "5", 10) == 10
    assert wire.receive_maximum(CONNACKS["3.1.1"][2:], "3.1.1", 50) == 50
    # A maximum packet size before it.
    assert wire.receive_maximum(b"\x00\x00\x08\x27\x00\x10\x00\x00\x21\x00\x07", "5", 50) == 7


def test_what_a_simulated_drone_says_is_what_its_topics_promise() -> None:
    script = Script("kestrel-1", load_fleet_list(PROMPTS))
    values = {
        "sent_at": b"2026-05-04T12:00:01Z",
        "observed_at": b"2026-05-04T12:00:00Z",
        "event_id": b"e17",
        "alert_id": b"a17",
        "seq": b"17",
        "mono_ns": b"123456789",
        "frame": b"250",
    }
    topics = script.topics
    told = [
        (topics.status, script.status("online"), Status),
        (topics.prompts_state, script.prompts_state, PromptsState),
        (topics.health, script.health.fill(values), Health),
        *((topic.decode(), each.fill(values), Counts) for topic, each in script.counts.items()),
        *((topics.events, each.fill(values), Event) for each in script.event.values()),
        *((topics.alert("a17"), each.fill(values), Alert) for each in script.alert.values()),
    ]
    for topic, payload, model in told:
        received = decode(topic, payload, False)
        assert received is not None
        assert type(received.message) is model
    event = Event.from_payload(script.event["clear"].fill(values | {"historical": b'"historical":true'}))
    assert (event.event_id, event.alert_id, event.seq, event.mono_ns) == ("e17", "a17", 17, 123456789)
    assert (event.msg_type, event.historical, event.frame) == ("clear", True, 250)
    assert event.sent_at.second == 1


def test_an_outbox_keeps_its_order_its_window_and_the_pace_of_a_backlog() -> None:
    outbox = Outbox(window=2)
    body = Template(b'{"historical":false}')

    def sent(now: float, connected_at: float) -> list[tuple[object, bytes]]:
        found = []
        for key, message, values in outbox.take(now, connected_at):
            outbox.sent(len(found) + 1, key, message)
            found.append((key, message.template.fill(values)))
        return found

    for key in ("counts", "event", "counts", "health"):
        outbox.put(key, Waiting(b"t", body, {}, put=10.0))
    assert [key for key, _ in sent(10.0, 5.0)] == ["event", "counts"]  # the newer counts, at their new place
    assert not outbox.held_back
    outbox.put("counts", Waiting(b"t", body, {}, put=11.0))
    outbox.connection_ended()
    assert len(outbox) == 3  # the counts in flight are replaced by the newer ones
    assert sent(20.0, 19.0) == [("event", b'{"historical":true}')]
    assert outbox.held_back
    assert outbox.next_old == pytest.approx(20.02)
    assert sent(20.01, 19.0) == []
    assert outbox.acknowledged(1)
    assert not outbox.acknowledged(1)


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed (apt install mosquitto)")
def test_twenty_drones_fly_on_the_shipped_broker_and_come_back_to_it(tmp_path: Path) -> None:
    drones = 20
    with Fleet(Options(drones, PROMPTS, counts_interval=0.5), tmp_path) as fleet:

        def connect() -> float:
            fleet.connect()
            return time.monotonic()

        def restart() -> float:
            fleet.broker.stop()
            fleet.broker.start()
            return time.monotonic()

        first = storm(fleet, "first", connect)
        assert (first.online, first.tries) == (drones, drones)
        room = fleet.room()
        assert wait_for(lambda: room.ask().subscribed > 0)
        fleet.load(100.0)
        step = measure(fleet, room, 100.0, 1.0)
        assert step.received > 0
        assert step.messages > step.received
        assert step.missing == 0
        told = calm(fleet)
        assert told.refused == 0
        assert wait_for(lambda: fleet.reports().queued == 0)
        flood = late_room(fleet)
        # Status, list, health where it was due, four counts, and the alerts that are active.
        assert 6 * drones <= flood.got <= 8 * drones
        again = storm(fleet, "again", restart)
        assert again.online == drones
        assert again.tries >= drones
    assert not fleet.broker.running


@pytest.mark.parametrize("wrong", [["--devices", "0"], ["--rates", "100,0"], ["--only", "nothing"]])
def test_options_that_make_no_sense_are_said(
    wrong: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fleet", *wrong])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert wrong[0] in capsys.readouterr().err
