"""What a device hears on its link, against a real mosquitto over real sockets."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.backoff import Backoff
from edge.mqtt.connection import MAX_INCOMING
from edge.mqtt.link import MqttLink
from edge.mqtt.messages import IncomingMessage
from edge.mqtt.settings import BrokerSettings
from edge.outbox.outbox import Outbox
from firmware_cfg.topics import Topics
from tests.system.waiting import WAIT, until

TOPICS = Topics("osprey-1")
VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


class Desk:
    """Keeps what a link hears."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heard: list[IncomingMessage] = []

    def __call__(self, message: IncomingMessage) -> None:
        with self._changed:
            self._heard.append(message)
            self._changed.notify_all()

    @property
    def heard(self) -> list[IncomingMessage]:
        with self._changed:
            return list(self._heard)

    def wait_for(self, wanted: Callable[[list[IncomingMessage]], object]) -> list[IncomingMessage]:
        with self._changed:
            if not self._changed.wait_for(lambda: wanted(self._heard), WAIT):
                pytest.fail(f"not heard in {WAIT:g} s; so far: {self._heard}")
            return list(self._heard)

    def wait_payload(self, payload: bytes) -> IncomingMessage:
        heard = self.wait_for(lambda all_: any(each.payload == payload for each in all_))
        return next(each for each in heard if each.payload == payload)


class ControlRoom:
    """A plain MQTT 5 client, as other programs are."""

    def __init__(self, port: int) -> None:
        self.answers: list[tuple[bytes, bytes | None]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, topic: str, payload: bytes, *, retain: bool = False, **properties: Any) -> None:
        packed = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(packed, name, value)
        self._client.publish(topic, payload, 1, retain, packed).wait_for_publish(WAIT)

    def listen(self, topic: str) -> None:
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _, __, message: self.answers.append(
            (message.payload, getattr(message.properties, "CorrelationData", None))
        )
        self._client.subscribe([(topic, SubscribeOptions(qos=1))])
        assert ready.wait(WAIT)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def control_room(mosquitto: Any) -> Iterator[Callable[[], ControlRoom]]:
    rooms: list[ControlRoom] = []

    def make() -> ControlRoom:
        rooms.append(ControlRoom(mosquitto.port))
        return rooms[-1]

    yield make
    for room in rooms:
        room.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.sqlite3") as box:
        yield box


def link_to(settings: BrokerSettings, outbox: Outbox, desk: Desk, **options: Any) -> MqttLink:
    return MqttLink(
        settings,
        outbox,
        device=TOPICS.device,
        status=lambda state: state,
        on_request=desk,
        backoff=Backoff(first=0.05, longest=0.2),
        **options,
    )


def forbid_subscriptions(mosquitto: Any) -> None:
    """An ACL file cannot: mosquitto accepts every subscription and then sends nothing. Its plugin can."""
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        pytest.skip("mosquitto's dynamic security plugin is not installed")
    rules = mosquitto.folder / "dynamic-security.json"
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False}
    rules.write_text(
        json.dumps(
            {
                "defaultACLAccess": {**access, "unsubscribe": True},
                "clients": [],
                "groups": [{"groupname": "all", "roles": []}],
                "roles": [],
                "anonymousGroup": "all",
            }
        )
    )
    mosquitto.extra += [f"plugin {plugin}", f"plugin_opt_config_file {rules}"]


def send_until_heard(room: ControlRoom, desk: Desk, topic: str, payload: bytes) -> None:
    """The subscription follows the birth, so the first tries may come too early."""
    for number in range(10_000):
        said = payload + str(number).encode()
        room.send(topic, said)
        with desk._changed:
            if desk._changed.wait_for(lambda: any(m.payload == said for m in desk._heard), 0.05):  # noqa: B023
                return
    pytest.fail("never heard")


@VERSIONS
def test_every_kind_of_request_is_heard_and_the_requests_of_other_devices_are_not(
    mosquitto: Any, outbox: Outbox, control_room: Any, version: Any
) -> None:
    mosquitto.start()
    room, desk = control_room(), Desk()
    with link_to(replace(mosquitto.settings, first_version=version), outbox, desk):
        send_until_heard(room, desk, TOPICS.prompts_set, b"first")
        asked = [topic.replace("+", "alert-1") for topic in TOPICS.requests]
        for topic in asked:
            room.send(Topics("osprey-2").root + topic.removeprefix(TOPICS.root), b"to another")
            room.send(topic, topic.encode())
        desk.wait_payload(asked[-1].encode())
    later = [each for each in desk.heard if not each.payload.startswith(b"first")]
    assert [(each.topic, each.payload, each.retained) for each in later] == [
        (topic, topic.encode(), False) for topic in asked
    ]


def test_the_response_topic_and_correlation_of_an_mqtt_5_request_are_handed_on(
    mosquitto: Any, outbox: Outbox, control_room: Any
) -> None:
    mosquitto.start()
    room, desk = control_room(), Desk()
    with link_to(mosquitto.settings, outbox, desk):
        send_until_heard(room, desk, TOPICS.prompts_set, b"first")
        room.send(TOPICS.prompts_set, b"asked", ResponseTopic="desk/7", CorrelationData=b"\0\xff")
        heard = desk.wait_payload(b"asked")
    assert heard == IncomingMessage(TOPICS.prompts_set, b"asked", False, "desk/7", b"\0\xff")


@VERSIONS
def test_an_answer_carries_the_correlation_of_its_question_where_the_protocol_can(
    mosquitto: Any, outbox: Outbox, control_room: Any, version: Any
) -> None:
    mosquitto.start()
    room = control_room()
    room.listen("answers/7")
    outbox.put("answers/7", b"answer", kind="telemetry", correlation=b"\0\xff")
    outbox.put("answers/7", b"without", kind="telemetry")
    with link_to(replace(mosquitto.settings, first_version=version), outbox, Desk()):
        assert until(lambda: len(room.answers) == 2)
    correlation = b"\0\xff" if version == "5" else None
    assert room.answers == [(b"answer", correlation), (b"without", None)]


@VERSIONS
def test_what_an_earlier_run_left_with_the_broker_is_heard_once_and_our_own_messages_are_not(
    mosquitto: Any, outbox: Outbox, control_room: Any, version: Any
) -> None:
    mosquitto.start()
    room, desk = control_room(), Desk()
    room.send(TOPICS.alert("a1"), b"left alert", retain=True)
    room.send(TOPICS.counts("boat"), b"left counts", retain=True)
    room.send(TOPICS.prompts_desired, b"wanted list", retain=True)
    room.send(Topics("osprey-2").alert("a2"), b"of another", retain=True)
    settings = replace(mosquitto.settings, first_version=version)
    with link_to(settings, outbox, desk, sweep_time=0.2) as link:
        assert link.wait_online(WAIT)
        outbox.put(TOPICS.alert("a9"), b"live", kind="alert", retain=True)
        desk.wait_for(lambda heard: len(heard) >= 3)
        assert until(lambda: "Received UNSUBSCRIBE from remoteclip-osprey-1" in mosquitto.log)
        send_until_heard(room, desk, TOPICS.prompts_set, b"afterwards")
    first = [each for each in desk.heard if not each.payload.startswith(b"afterwards")]
    assert {(each.topic, each.payload, each.retained) for each in first} == {
        (TOPICS.alert("a1"), b"left alert", True),
        (TOPICS.counts("boat"), b"left counts", True),
        (TOPICS.prompts_desired, b"wanted list", True),
    }


@VERSIONS
def test_a_giant_never_reaches_the_desk_and_what_follows_it_does(
    mosquitto: Any, outbox: Outbox, control_room: Any, version: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.extra.append("max_packet_size 20000000")  # the shipped limit would end the sender's connection
    mosquitto.start()
    room, desk = control_room(), Desk()
    with link_to(replace(mosquitto.settings, first_version=version), outbox, desk) as link:
        send_until_heard(room, desk, TOPICS.prompts_set, b"first")
        for _ in range(3):
            room.send(TOPICS.prompts_set, bytes(10_000_000))
        room.send(TOPICS.prompts_set, b"after the giants")
        desk.wait_payload(b"after the giants")
        assert link.state == "online"
    assert max(len(each.payload) for each in desk.heard) < MAX_INCOMING
    dropped = [r for r in caplog.records if "are dropped" in r.getMessage()]
    assert len(dropped) == (1 if version == "3.1.1" else 0)  # an MQTT 5 broker keeps them back itself


def test_a_desk_that_raises_does_not_end_the_connection(
    mosquitto: Any, outbox: Outbox, control_room: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    room, desk = control_room(), Desk()

    class Careless(Desk):
        def __call__(self, message: IncomingMessage) -> None:
            if message.payload == b"bad":
                raise RuntimeError("the desk's mistake")
            desk(message)

    with link_to(mosquitto.settings, outbox, Careless()) as link:
        send_until_heard(room, desk, TOPICS.prompts_set, b"first")
        room.send(TOPICS.prompts_set, b"bad")
        room.send(TOPICS.prompts_set, b"good")
        desk.wait_payload(b"good")
        assert link.state == "online"
    assert "the desk's mistake" in caplog.text


def test_invalid_utf_8_in_a_payload_is_only_bytes(mosquitto: Any, outbox: Outbox, control_room: Any) -> None:
    mosquitto.start()
    room, desk = control_room(), Desk()
    with link_to(mosquitto.settings, outbox, desk):
        send_until_heard(room, desk, TOPICS.prompts_set, b"\xff\xfe\x80")


def test_a_broker_that_lets_nobody_subscribe_is_one_warning_and_alerts_still_go_out(
    mosquitto: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    forbid_subscriptions(mosquitto)
    mosquitto.start()
    desk = Desk()
    with link_to(mosquitto.settings, outbox, desk) as link:
        for number in range(2):
            outbox.put(TOPICS.events, f"alert {number}", kind="alert")
            assert until(lambda: outbox.counts().queued == 0)
            assert until(lambda: caplog.text.count("are not heard") > 0)
            if number == 0:
                mosquitto.stop()
                assert until(lambda: link.state == "offline")
                mosquitto.start()
    lines = [r.getMessage() for r in caplog.records if "refuses the subscription" in r.getMessage()]
    assert len([line for line in lines if "requests are not heard" in line]) == 1
    assert len(lines) == 2


def test_a_broker_that_hangs_up_on_subscriptions_still_gets_the_alerts(
    mosquitto: Any, outbox: Outbox, strict_way: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    strict = strict_way(mosquitto.port, b"prompts/set")
    outbox.put(TOPICS.events, "alert 0", kind="alert")
    settings = BrokerSettings.from_url(f"mqtt://127.0.0.1:{strict.port}")
    with link_to(settings, outbox, Desk()) as link:
        assert until(lambda: "the broker hangs up on the subscription" in caplog.text)
        assert until(lambda: link.state == "online")
        outbox.put(TOPICS.events, "alert 1", kind="alert")
        assert until(lambda: outbox.counts().queued == 0)
        assert link.state == "online"
        assert strict.cut == 3
