"""The shipped broker: who may do what there, and what outlives its restart."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.backoff import Backoff
from edge.broker import BrokerProcess, free_port
from edge.mqtt.link import MqttLink
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox
from firmware_cfg.broker import FOLDER
from firmware_cfg.broker_url import parse_broker_url
from firmware_cfg.topics import Topics
from tests.system.waiting import WAIT, until

HERON, KITE = Topics("heron-1"), Topics("kite-2")
USERS = ("heron-1", "kite-2", "control-room", "viewer", "home-assistant", "stranger")


class Client:
    """A plain MQTT 5 client with a login: publishes, hears everything that it may hear."""

    def __init__(self, port: int, user: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._acknowledged = threading.Condition()
        self._refused: dict[int, bool] = {}
        ready = threading.Event()
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.username_pw_set(user, "secret")
        client.on_connect = lambda *_: client.subscribe([("#", 1)])
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda _, __, message: self.heard.append((message.topic, message.payload))
        client.on_publish = self._on_publish
        client.connect("127.0.0.1", port)
        client.loop_start()
        assert ready.wait(WAIT)

    def may_write(self, topic: str, payload: bytes = b"x") -> bool:
        mid = self._client.publish(topic, payload, 1).mid
        with self._acknowledged:
            assert self._acknowledged.wait_for(lambda: mid in self._refused, WAIT)
            return not self._refused[mid]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        with self._acknowledged:
            self._refused[mid] = reason.is_failure
            self._acknowledged.notify_all()


@pytest.fixture
def clients(mosquitto: Any) -> Iterator[dict[str, Client]]:
    for user in USERS:
        mosquitto.require_password(user, "secret")
    mosquitto.start()
    everybody = {user: Client(mosquitto.port, user) for user in USERS}
    yield everybody
    for client in everybody.values():
        client.close()


WRITTEN_BY_THE_DEVICE = (
    HERON.status,
    HERON.health,
    HERON.events,
    HERON.events_replayed,
    HERON.counts("boat"),
    HERON.alert("a1"),
    HERON.prompts_ack,
    HERON.prompts_state,
    HERON.evidence("0f" * 32),
)
WRITTEN_BY_THE_CONTROL_ROOM = tuple(each.replace("+", "a1") for each in HERON.requests)


def test_each_user_writes_and_hears_what_the_acl_grants_and_nothing_else(clients: Any) -> None:
    def writers(topic: str) -> set[str]:
        return {name for name, client in clients.items() if client.may_write(topic, name.encode())}

    for topic in WRITTEN_BY_THE_DEVICE:
        assert writers(topic) == {"heron-1"}, topic
    for topic in WRITTEN_BY_THE_CONTROL_ROOM:
        # `evidence/+`, where the device puts its pictures, has room for its own `evidence/get`.
        own = {"heron-1"} if topic == HERON.evidence_get else set()
        assert writers(topic) == {"control-room"} | own, topic
    assert writers("remoteclip-reply/heron-1/7") == {"heron-1"}
    assert writers("homeassistant/device/remoteclip/heron-1/config") == {"heron-1"}
    assert writers("homeassistant/status") == {"home-assistant"}
    assert writers("elsewhere") == set()

    assert clients["control-room"].may_write(KITE.prompts_set, b"the last one")
    for name in ("viewer", "control-room", "home-assistant", "kite-2"):
        assert until(lambda name=name: (KITE.prompts_set, b"the last one") in clients[name].heard)  # type: ignore[misc]
    assert not clients["heron-1"].may_write(HERON.root)  # its answer comes after all that it could hear
    topics = {name: {topic for topic, _ in client.heard} for name, client in clients.items()}
    everything = {*WRITTEN_BY_THE_DEVICE, *WRITTEN_BY_THE_CONTROL_ROOM, KITE.prompts_set}
    assert topics["viewer"] == everything
    found = {"homeassistant/device/remoteclip/heron-1/config", "homeassistant/status"}
    assert topics["home-assistant"] == everything | found
    assert topics["control-room"] == everything | found | {"remoteclip-reply/heron-1/7"}
    assert topics["heron-1"] == {*WRITTEN_BY_THE_CONTROL_ROOM, HERON.alert("a1"), HERON.counts("boat")}
    assert topics["kite-2"] == {KITE.prompts_set}
    assert topics["stranger"] == set()


def link_to(settings: BrokerSettings, outbox: Outbox, device: str, **options: Any) -> MqttLink:
    return MqttLink(
        settings,
        outbox,
        device=device,
        status=lambda state: state,
        backoff=Backoff(first=0.05, longest=0.2),
        **options,
    )


def with_certificate(mosquitto: Any, authority: Any, name: str) -> BrokerSettings:
    certificate, key = authority.for_client(name, mosquitto.folder / f"{name}.crt")
    ca = mosquitto.folder / "certs" / "ca.crt"
    return replace(mosquitto.settings, ca=ca, certificate=certificate, key=key)


def test_a_drone_with_a_certificate_is_who_the_certificate_says(
    mosquitto: Any, authority: Any, subscribe: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.require_certificates(authority)
    mosquitto.start()
    inbox = subscribe(with_certificate(mosquitto, authority, "viewer"), "remoteclip/1/#")
    heron = with_certificate(mosquitto, authority, "heron-1")
    with Outbox(tmp_path / "own.sqlite3") as own, Outbox(tmp_path / "other.sqlite3") as other:
        own.put(HERON.events, "its own", kind="alert")
        with link_to(heron, own, "heron-1"):
            inbox.wait_payload(HERON.events, b"its own")
            assert until(lambda: own.counts().queued == 0)
        other.put(KITE.events, "an impostor", kind="alert")
        with link_to(heron, other, "kite-2") as impostor:
            assert impostor.wait_online(WAIT)
            assert until(lambda: f"{KITE.events}: refused: Not authorized" in caplog.text)
        assert other.counts().alert == 1
    assert not [topic for topic, _, _ in inbox.messages if topic.startswith(KITE.root)]


def test_without_a_certificate_nobody_comes_in(mosquitto: Any, authority: Any, tmp_path: Path) -> None:
    mosquitto.require_certificates(authority)
    mosquitto.start()
    nobody = replace(mosquitto.settings, ca=mosquitto.folder / "certs" / "ca.crt")
    with Outbox(tmp_path / "box.sqlite3") as outbox:
        outbox.put(HERON.events, "kept", kind="alert")
        with link_to(nobody, outbox, "heron-1") as link:
            assert until(lambda: link.state == "offline")
            assert outbox.counts().alert == 1


def test_what_the_broker_took_outlives_its_restart(mosquitto: Any, tmp_path: Path) -> None:
    mosquitto.start()
    got: list[bytes] = []

    def desk() -> Subscriber:
        return Subscriber(
            mosquitto.settings,
            [HERON.events],
            lambda _, payload, __: got.append(payload),
            client_id="desk",
        )

    with desk() as first:
        assert first.wait_online(WAIT)
    with Outbox(tmp_path / "box.sqlite3") as outbox, link_to(mosquitto.settings, outbox, "heron-1"):
        for number in range(200):
            outbox.put(HERON.events, f"event {number}", kind="alert")
        assert until(lambda: outbox.counts().queued == 0)
    assert got == []
    mosquitto.stop()
    mosquitto.start()
    with desk() as second:
        assert second.wait_online(WAIT)
        assert until(lambda: len(got) >= 200)
    assert got == [f"event {number}".encode() for number in range(200)]


def test_the_files_start_as_they_are_installed_and_both_listeners_let_their_users_in(
    mosquitto: Any, authority: Any, subscribe: Any, tmp_path: Path
) -> None:
    """Nothing differs from a control room's broker but the folders, the ports and the user it runs as."""
    etc, ports = mosquitto.folder, {"8883": free_port(), "8884": free_port()}
    mosquitto.require_password("viewer", "secret")
    authority.for_broker(etc / "certs")
    (etc / "lib").mkdir()
    shutil.copytree(FOLDER / "listeners", etc / "listeners")
    shutil.copy(FOLDER / "acl", etc / "acl")
    shutil.copy(FOLDER / "mosquitto.conf", etc / "mosquitto.conf")
    for path in (etc / "mosquitto.conf", *(etc / "listeners").iterdir()):
        text = (
            path.read_text().replace("/etc/mosquitto", str(etc)).replace("/var/lib/mosquitto", f"{etc}/lib")
        )
        for shipped, port in ports.items():
            text = text.replace(f"listener {shipped}\n", f"listener {port} 127.0.0.1\n")
        path.write_text(text)
    with (etc / "mosquitto.conf").open("a") as config:
        config.write("user root\n")
    command = [mosquitto.program, "-c", str(etc / "mosquitto.conf")]
    broker = BrokerProcess("mosquitto", command, ports["8884"], mosquitto.log_path)
    try:
        secret = tmp_path / "secret"
        secret.write_text("secret\n")
        ca = etc / "certs" / "ca.crt"
        viewer = BrokerSettings(
            parse_broker_url(f"mqtts://127.0.0.1:{ports['8883']}"),
            username="viewer",
            password_file=secret,
            ca=ca,
        )
        inbox = subscribe(viewer, HERON.events)
        certificate, key = authority.for_client("heron-1", tmp_path / "heron-1.crt")
        address = parse_broker_url(f"mqtts://127.0.0.1:{ports['8884']}")
        heron = BrokerSettings(address, ca=ca, certificate=certificate, key=key)
        with Outbox(tmp_path / "box.sqlite3") as outbox, link_to(heron, outbox, "heron-1"):
            outbox.put(HERON.events, "an alert", kind="alert")
            inbox.wait_payload(HERON.events, b"an alert")
    finally:
        broker.stop()
