"""The link between outbox and broker, against a real mosquitto over real sockets."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.backoff import Backoff
from edge.broker import start_demo_broker
from edge.mqtt.link import MqttLink
from edge.mqtt.settings import BrokerSettings
from edge.outbox.outbox import Outbox, QueuedMessage
from firmware_cfg.topics import Topics
from tests.system.waiting import WAIT, until

DEVICE = "kestrel-1"
TOPICS = Topics(DEVICE)
SECRET = "tangerine-gearbox"


def quick() -> Backoff:
    return Backoff(first=0.05, longest=0.2)


def status_body(state: str) -> str:
    return f'{{"state": "{state}", "session": "s1"}}'


STATUS = {state: status_body(state).encode() for state in ("online", "offline", "stopped")}


def link_to(broker: BrokerSettings, outbox: Outbox, **options: Any) -> MqttLink:
    options.setdefault("backoff", quick())
    options.setdefault("backlog_rate", 1000.0)
    return MqttLink(broker, outbox, device=DEVICE, status=status_body, **options)


class Gate:
    """A pause between two tries that lasts until `open`, so that a subscriber can be there first."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.open = self._open.set
        self.backoff = Backoff(draw=self._draw)

    def _draw(self, _low: float, _high: float) -> float:
        self._open.wait(WAIT)
        return 0.05


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.sqlite3") as box:
        yield box


def test_messages_put_before_the_broker_is_up_arrive_after_the_birth_and_oldest_first(
    mosquitto: Any, subscribe: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(100):
        outbox.put(TOPICS.events, str(number), kind="alert")
    gate = Gate()
    with link_to(mosquitto.settings, outbox, backoff=gate.backoff) as link:
        assert until(lambda: link.state == "offline")
        assert outbox.counts().alert == 100
        mosquitto.start()
        inbox = subscribe(mosquitto.settings)
        gate.open()
        received = inbox.wait_payload(TOPICS.events, b"99")
        assert until(lambda: outbox.counts().queued == 0)
    assert [payload for _, payload, _ in received] == [
        STATUS["online"],
        *(str(number).encode() for number in range(100)),
    ]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([line for line in lines if "connection refused" in line]) == 1
    assert f"127.0.0.1:{mosquitto.port}" in lines[0]
    assert "kept in the outbox" in lines[0]


def test_the_birth_comes_before_the_backlog_and_nothing_is_sent_twice(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    for number in range(250):  # several times what may be in flight
        outbox.put(TOPICS.events, str(number), kind="alert")
    with link_to(mosquitto.settings, outbox):
        inbox.wait_payload(TOPICS.events, b"249")
        assert until(lambda: outbox.counts().queued == 0)
        outbox.put(TOPICS.events, "live", kind="alert")
        inbox.wait_payload(TOPICS.events, b"live")
    received = inbox.wait_payload(TOPICS.status, STATUS["stopped"])
    assert [payload for _, payload, _ in received] == [
        STATUS["online"],
        *(str(number).encode() for number in range(250)),
        b"live",
        STATUS["stopped"],
    ]


def test_the_retained_status_is_there_for_who_comes_later(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    link = link_to(mosquitto.settings, outbox)
    link.start()
    assert link.wait_online(WAIT)
    assert (TOPICS.status, STATUS["online"], True) in subscribe(mosquitto.settings).wait_for(bool)
    assert link.stop() == 0
    assert link.state == "stopped"
    # A clean stop leaves "stopped" behind, and no last will.
    assert subscribe(mosquitto.settings).wait_for(bool) == [(TOPICS.status, STATUS["stopped"], True)]


def test_a_message_leaves_the_outbox_only_with_its_puback(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    """SIGSTOP makes a broker whose kernel accepts every byte and which acknowledges none."""
    mosquitto.start()
    with link_to(mosquitto.settings, outbox, ack_timeout=0.3) as link:
        assert link.wait_online(WAIT)
        mosquitto.pause()
        first = outbox.put(TOPICS.events, "held", kind="alert")
        assert until(lambda: "acknowledges nothing" in link.problem)
        assert [message.id for message in outbox.pending()] == [first]
        mosquitto.resume()
        inbox = subscribe(mosquitto.settings)
        outbox.put(TOPICS.events, "after", kind="alert")
        inbox.wait_payload(TOPICS.events, b"after")
        assert until(lambda: outbox.counts().queued == 0)


def test_a_broker_that_restarts_gets_what_it_missed_and_the_status_again(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    gate = Gate()
    with link_to(mosquitto.settings, outbox, backoff=gate.backoff) as link:
        assert link.wait_online(WAIT)
        mosquitto.stop()
        assert until(lambda: link.state == "offline")
        outbox.put(TOPICS.events, "meanwhile", kind="alert")
        mosquitto.start()
        inbox = subscribe(mosquitto.settings)
        gate.open()
        inbox.wait_payload(TOPICS.events, b"meanwhile")
        inbox.wait_payload(TOPICS.status, STATUS["online"])


def test_a_wrong_password_is_one_clear_line_and_is_tried_until_it_is_right(
    mosquitto: Any, subscribe: Any, outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mosquitto.require_password(DEVICE, SECRET)
    mosquitto.require_password("viewer", SECRET)
    mosquitto.start()
    password_file = tmp_path / "password"
    password_file.write_text("stale-" + SECRET + "\n")
    settings = BrokerSettings(mosquitto.settings.address, username=DEVICE, password_file=password_file)
    outbox.put(TOPICS.events, "kept", kind="alert")
    with link_to(settings, outbox) as link:
        assert until(lambda: "refused the password or the user name 'kestrel-1'" in link.problem)
        assert until(lambda: mosquitto.log.count("not authorised") >= 3)  # it goes on trying
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) == 1
        assert outbox.counts().alert == 1
        password_file.write_text(SECRET + "\n")
        inbox = subscribe(replace(settings, username="viewer"))
        assert until(lambda: outbox.counts().queued == 0)
        inbox.wait_payload(TOPICS.status, STATUS["online"])
    assert SECRET not in caplog.text
    assert SECRET not in repr(settings) + repr(vars(link))


def test_a_refused_topic_is_kept_named_and_does_not_hold_up_the_rest(
    mosquitto: Any, subscribe: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    rules = mosquitto.folder / "acl"
    rules.write_text(f"topic readwrite {TOPICS.status}\ntopic readwrite {TOPICS.events}\ntopic read #\n")
    mosquitto.extra.append(f"acl_file {rules}")
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    refused = outbox.put(TOPICS.health, "not allowed", kind="telemetry")
    outbox.put(TOPICS.events, "allowed", kind="alert")
    with link_to(mosquitto.settings, outbox):
        inbox.wait_payload(TOPICS.events, b"allowed")
        assert until(lambda: outbox.counts().alert == 0)
    assert [message.id for message in outbox.pending()] == [refused]
    assert f"{TOPICS.health}: refused: Not authorized" in caplog.text


def test_no_more_is_in_flight_than_the_broker_asks_for(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.extra.append("max_inflight_messages 2")  # beyond it mosquitto hangs up
    mosquitto.start()
    inbox = subscribe(mosquitto.settings, TOPICS.events)
    for number in range(50):
        outbox.put(TOPICS.events, str(number), kind="alert")
    with link_to(mosquitto.settings, outbox):
        inbox.wait_payload(TOPICS.events, b"49")
        assert until(lambda: outbox.counts().queued == 0)
    assert len(inbox.messages) == 50


def test_a_message_that_is_too_large_for_the_broker_does_not_cut_the_connection(
    mosquitto: Any, subscribe: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.extra.append("max_packet_size 2000")
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    large = outbox.put(TOPICS.events, bytes(2000), kind="alert")
    outbox.put(TOPICS.events, bytes(1500), kind="alert")
    with link_to(mosquitto.settings, outbox):
        inbox.wait_payload(TOPICS.events, bytes(1500))
        assert until(lambda: outbox.counts().queued == 1)
    assert [message.id for message in outbox.pending()] == [large]
    assert "more than the 2000 that the broker takes" in caplog.text
    statuses = [payload for topic, payload, _ in inbox.messages if topic == TOPICS.status]
    assert statuses[0] == STATUS["online"]
    assert STATUS["offline"] not in statuses


def test_an_answer_that_its_askers_topic_refuses_is_dropped_and_all_else_is_kept(
    mosquitto: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    rules = mosquitto.folder / "acl"
    rules.write_text(f"topic readwrite {TOPICS.status}\n")
    mosquitto.extra.append(f"acl_file {rules}")
    mosquitto.start()
    kept = [
        outbox.put(TOPICS.prompts_ack, "an answer on a topic of ours", kind="telemetry"),
        outbox.put("homeassistant/device/remoteclip/x/config", "state", kind="telemetry", retain=True),
        outbox.put(TOPICS.events, "an alert", kind="alert"),
    ]
    for topic in ("forbidden/to/us", "no+topic#"):
        outbox.put(topic, "an answer", kind="update", correlation=b"7")
    with link_to(mosquitto.settings, outbox):
        assert until(lambda: outbox.counts().queued == 3)
        assert until(lambda: "kept in the outbox" in caplog.text)
    assert [message.id for message in outbox.pending()] == kept
    assert "forbidden/to/us: refused: Not authorized; an answer, dropped" in caplog.text
    assert "no+topic#: refused: Publish topic cannot contain wildcards" in caplog.text


def test_the_backlog_keeps_its_pace_and_what_is_new_waits_behind_it(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings, TOPICS.events)
    for number in range(6):
        outbox.put(TOPICS.events, f"backlog {number}", kind="alert")
    sent: list[tuple[bool, float]] = []

    def stamp(message: QueuedMessage) -> bytes:
        if not sent:  # the connection is there by now, so this is new
            for number in range(30):
                outbox.put(TOPICS.events, f"new {number}", kind="alert")
        sent.append((message.backlog, time.monotonic()))
        return message.payload

    with link_to(mosquitto.settings, outbox, backlog_rate=20.0, stamp=stamp):
        received = inbox.wait_payload(TOPICS.events, b"new 29")
    wanted = [*(f"backlog {number}" for number in range(6)), *(f"new {number}" for number in range(30))]
    assert [payload.decode() for _, payload, _ in received] == wanted
    assert [backlog for backlog, _ in sent] == [True] * 6 + [False] * 30
    moments = [moment for _, moment in sent[:6]]
    assert min(later - earlier for earlier, later in pairwise(moments)) > 0.045


def test_a_message_that_is_new_does_not_wait_for_the_pace_of_a_backlog_that_is_through(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings, TOPICS.events)
    outbox.put(TOPICS.events, "backlog", kind="alert")
    with link_to(mosquitto.settings, outbox, backlog_rate=1 / (10 * WAIT)):
        inbox.wait_payload(TOPICS.events, b"backlog")
        for number in range(30):
            outbox.put(TOPICS.events, f"new {number}", kind="alert")
        inbox.wait_payload(TOPICS.events, b"new 29")


def test_a_link_that_stops_gives_up_the_pace_and_sends_what_it_can(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    for number in range(100):
        outbox.put(TOPICS.events, str(number), kind="alert")
    with link_to(mosquitto.settings, outbox, backlog_rate=1 / (10 * WAIT)) as link:
        inbox.wait_payload(TOPICS.events, b"0")
        assert link.stop(timeout=WAIT) == 0
    received = inbox.wait_payload(TOPICS.status, STATUS["stopped"])
    assert len([topic for topic, _, _ in received if topic == TOPICS.events]) == 100


def test_the_stamp_sets_the_payload_at_the_moment_of_sending(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)

    def stamp(message: QueuedMessage) -> bytes:
        if message.event_id is None:
            raise ValueError("not an event")
        return message.payload + f" of {message.event_id} sent".encode()

    outbox.put(TOPICS.health, "as it was put", kind="telemetry")
    outbox.put(TOPICS.events, "raise", kind="alert", event_id="e1")
    with link_to(mosquitto.settings, outbox, stamp=stamp):
        inbox.wait_payload(TOPICS.events, b"raise of e1 sent")
        inbox.wait_payload(TOPICS.health, b"as it was put")


def test_the_status_stopped_is_said_even_when_the_backlog_does_not_fit_into_the_time_to_stop(
    mosquitto: Any, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings, TOPICS.status)
    link = link_to(mosquitto.settings, outbox)
    link.start()
    assert link.wait_online(WAIT)
    with outbox.transaction():
        for number in range(2000):
            outbox.put(TOPICS.events, str(number), kind="alert")
    left = link.stop(timeout=0.0)
    inbox.wait_payload(TOPICS.status, STATUS["stopped"])
    assert left == outbox.counts().queued > 0


def test_stopping_without_a_broker_keeps_everything(mosquitto: Any, outbox: Outbox) -> None:
    outbox.put(TOPICS.events, "kept", kind="alert")
    link = link_to(mosquitto.settings, outbox)
    link.start()
    assert until(lambda: link.state == "offline")
    assert link.stop() == 1


def test_a_second_drone_of_the_same_name_is_named_as_the_trouble(
    mosquitto: Any, outbox: Outbox, tmp_path: Path
) -> None:
    mosquitto.start()
    with link_to(mosquitto.settings, outbox) as first, Outbox(tmp_path / "second.sqlite3") as other:
        assert first.wait_online(WAIT)
        with link_to(mosquitto.settings, other):
            assert until(lambda: "device id used twice" in first.problem)


KILLED = """
    import sys, time
    from edge.mqtt.settings import BrokerSettings
    from edge.mqtt.link import MqttLink
    from edge.outbox.outbox import Outbox

    url, path = sys.argv[1:]
    outbox = Outbox(path)
    link = MqttLink(BrokerSettings.from_url(url), outbox, device="kestrel-1",
                    status=lambda state: '{"state": "%s", "session": "s1"}' % state)
    link.start()
    for number in range(5):
        outbox.put("remoteclip/1/kestrel-1/events", f"event {number}", kind="alert")
    while outbox.counts().queued:
        time.sleep(0.01)
    print("all acknowledged", flush=True)
    input()
    for number in range(5, 8):
        outbox.put("remoteclip/1/kestrel-1/events", f"event {number}", kind="alert")
    print("three more put", flush=True)
    input()
"""


def test_after_sigkill_the_last_will_is_sent_and_what_was_not_acknowledged_survives(
    mosquitto: Any, subscribe: Any, tmp_path: Path, repository: Path
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    path = tmp_path / "killed.sqlite3"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), mosquitto.url, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=repository, text=True, **pipes) as drone:
        try:
            assert drone.stdin is not None
            assert drone.stdout is not None
            assert drone.stdout.readline() == "all acknowledged\n"
            mosquitto.pause()  # takes what is sent, but acknowledges nothing
            print(file=drone.stdin, flush=True)
            assert drone.stdout.readline() == "three more put\n"
        finally:
            drone.kill()
    mosquitto.resume()
    inbox.wait_payload(TOPICS.status, STATUS["offline"])
    assert (TOPICS.status, STATUS["offline"], True) in subscribe(mosquitto.settings).wait_for(bool)
    with Outbox(path) as outbox:
        left = [message.payload for message in outbox.pending()]
        assert left == [b"event 5", b"event 6", b"event 7"]
        with link_to(mosquitto.settings, outbox):
            assert until(lambda: outbox.counts().queued == 0)
    received = inbox.wait_payload(TOPICS.status, STATUS["stopped"])
    events = [payload for topic, payload, _ in received if topic == TOPICS.events]
    # What the paused broker had taken came twice, which consumers tell by the event_id; nothing is missing.
    assert list(dict.fromkeys(events)) == [f"event {number}".encode() for number in range(8)]


def test_a_broker_that_speaks_only_mqtt_3_1_1_is_understood(
    outbox: Outbox, subscribe: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It answers MQTT 5 with silence, which is waited out twice here.
    monkeypatch.setattr("edge.mqtt.connection.CONNECT_TIMEOUT", 1.5)
    pytest.importorskip("amqtt", reason="amqtt is not installed (pip install 'remoteclip-edge[demo]')")
    caplog.set_level(logging.INFO)
    with start_demo_broker(kind="amqtt") as broker:
        settings = BrokerSettings.from_url(broker.url)
        inbox = subscribe(settings)
        outbox.put(TOPICS.events, "raise", kind="alert")
        with link_to(settings, outbox):
            inbox.wait_payload(TOPICS.events, b"raise")
            assert until(lambda: outbox.counts().queued == 0)
        received = inbox.wait_payload(TOPICS.status, STATUS["stopped"])
        assert [payload for _, payload, _ in received] == [STATUS["online"], b"raise", STATUS["stopped"]]
    assert "no MQTT 5 there, speaking MQTT 3.1.1" in caplog.text
    assert "connected with MQTT 3.1.1" in caplog.text


def test_a_broker_that_speaks_mqtt_5_is_spoken_to_in_mqtt_5(mosquitto: Any, outbox: Outbox) -> None:
    mosquitto.start()
    with link_to(mosquitto.settings, outbox) as link:
        assert link.wait_online(WAIT)
        assert f"as remoteclip-{DEVICE} (p5, c1," in mosquitto.log
