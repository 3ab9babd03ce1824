"""Prompt lists sent to a daemon that flies: the real daemon, the shipped model, a real broker."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.daemon import Daemon
from edge.frames import Frame, RgbImage
from edge.prompts.build import MOST_SENT_SENTENCES
from edge.sources import FrameSource
from firmware_cfg.device import DeviceFile, Mqtt, Source
from firmware_cfg.messages import PromptsAck, PromptsState
from firmware_cfg.topics import Topics

TOPICS = Topics("bird")
PATIENCE_S = 120.0
CAR, BOAT, TREE = (
    f"prompts: [{{id: {word}, text: a {word} seen from above}}]\n".encode()
    for word in ("car", "boat", "tree")
)
BAD = b"prompts:\n  - {id: car, text: a car, threshold: 3.5}\n"
Messages = list[tuple[str, bytes, bool]]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Meadow(FrameSource):
    """Grey frames, twenty a second, until the daemon stops."""

    def __init__(self) -> None:
        super().__init__("meadow")

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        return cls()

    def __iter__(self) -> Iterator[Frame]:
        pixels = RgbImage(np.full((192, 320, 3), 114, np.uint8))
        for number in itertools.count():
            now = datetime.now(timezone.utc)
            yield Frame(pixels, number, number / 20, now, time.monotonic_ns(), self.name)
            time.sleep(0.05)


@contextmanager
def flying(device: DeviceFile) -> Iterator[None]:
    daemon = Daemon(device, source=Meadow())
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield
    finally:
        daemon.stop("landed")
        thread.join()


class ControlRoom:
    """An MQTT 5 client that asks; what it gets is in the inbox that the test subscribed."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "control-room", protocol=paho.MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.answers: list[tuple[str, bytes, bytes]] = []
        self._answered = threading.Condition()
        self._client.on_message = self._take
        self._client.subscribe("room/answers", qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes = b"") -> None:
        properties = Properties(PacketTypes.PUBLISH)
        if correlation:
            properties.ResponseTopic = "room/answers"
            properties.CorrelationData = correlation
        self._client.publish(topic, payload, 1, retain, properties).wait_for_publish(PATIENCE_S)

    def answer(self, correlation: bytes) -> PromptsAck:
        """The answer to the request with this correlation data."""
        with self._answered:
            assert self._answered.wait_for(lambda: any(a[2] == correlation for a in self.answers), PATIENCE_S)
            return next(PromptsAck.from_payload(a[1]) for a in self.answers if a[2] == correlation)

    def ask_until_answered(self, payload: bytes, correlation: bytes) -> PromptsAck:
        """For a drone that may not have subscribed yet: what is sent before that is lost."""
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            self.publish(TOPICS.prompts_set, payload, correlation=correlation)
            with self._answered:
                if self._answered.wait_for(lambda: any(a[2] == correlation for a in self.answers), 0.2):
                    break
        return self.answer(correlation)

    def _take(self, client: Any, userdata: Any, message: Any) -> None:
        with self._answered:
            self.answers.append((message.topic, message.payload, message.properties.CorrelationData))
            self._answered.notify_all()


def states(messages: Messages) -> list[tuple[str, str]]:
    """(hash, source) of every `prompts/state`, in order."""
    found = [
        PromptsState.from_payload(payload) for topic, payload, _ in messages if topic == TOPICS.prompts_state
    ]
    return [(state.sha256, state.source) for state in found]


def acks(messages: Messages) -> list[tuple[bool, str]]:
    """(applied, hash in force) of every `prompts/ack`, in order."""
    found = [
        PromptsAck.from_payload(payload) for topic, payload, _ in messages if topic == TOPICS.prompts_ack
    ]
    return [(ack.applied, ack.sha256) for ack in found]


@pytest.fixture
def device(tmp_path: Path, mosquitto: Any) -> DeviceFile:
    path = tmp_path / "list.yaml"
    path.write_bytes(CAR)
    return DeviceFile(
        device="bird",
        source=Source(uri="demo"),
        prompts=path,
        mqtt=Mqtt(url=mosquitto.url),
        state_dir=tmp_path / "state",
        counts_interval=0.1,
    )


@pytest.fixture
def room(mosquitto: Any) -> Iterator[ControlRoom]:
    """At a broker that is up."""
    mosquitto.start()
    room = ControlRoom(mosquitto.port)
    yield room
    room.close()


def test_lists_are_sent_refused_wished_for_and_saved_in_one_flight(
    device: DeviceFile, mosquitto: Any, subscribe: Callable[..., Any], room: ControlRoom
) -> None:
    inbox = subscribe(mosquitto.settings)
    with flying(device):
        # It is told at the start, and again to a broker that was not there yet.
        inbox.wait_for(lambda messages: set(states(messages)) == {(sha256(CAR), "file")})
        inbox.wait_for(lambda messages: any(topic == TOPICS.counts("car") for topic, _, _ in messages))

        room.publish(TOPICS.prompts_set, BOAT, correlation=b"\x01boat")
        ack = room.answer(b"\x01boat")
        assert (ack.applied, ack.kept, ack.sha256) == (True, True, sha256(BOAT))
        inbox.wait_for(lambda messages: states(messages)[-1] == (sha256(BOAT), "mqtt"))
        inbox.wait_for(lambda messages: any(topic == TOPICS.counts("boat") for topic, _, _ in messages))
        inbox.wait_payload(TOPICS.counts("car"), b"")  # nothing retained of a prompt that is gone

        room.publish(TOPICS.prompts_set, BAD, correlation=b"\x02bad")
        ack = room.answer(b"\x02bad")
        assert (ack.applied, ack.sha256) == (False, sha256(BOAT))
        assert [(error.line, error.problem) for error in ack.errors] == [
            (2, "threshold must be between 0 and 1, got 3.5")
        ]

        room.publish(TOPICS.prompts_desired, TREE, retain=True)
        inbox.wait_for(lambda messages: states(messages)[-1] == (sha256(TREE), "mqtt"))

        device.prompts.write_bytes(BOAT)
        inbox.wait_for(lambda messages: states(messages)[-1] == (sha256(BOAT), "file"))
    expected = [(True, sha256(BOAT)), (False, sha256(BOAT)), (True, sha256(TREE))]
    inbox.wait_for(lambda messages: len(acks(messages)) >= len(expected))
    assert acks(inbox.messages) == expected


def test_a_drone_that_returns_converges_to_what_is_desired(
    device: DeviceFile, mosquitto: Any, subscribe: Callable[..., Any], room: ControlRoom
) -> None:
    room.publish(TOPICS.prompts_desired, BOAT, retain=True)
    inbox = subscribe(mosquitto.settings)
    with flying(device):
        inbox.wait_for(lambda messages: (sha256(BOAT), "mqtt") in states(messages))
        # Newer than the desire: it stays when the broker repeats that.
        room.publish(TOPICS.prompts_set, TREE)
        inbox.wait_for(lambda messages: states(messages)[-1] == (sha256(TREE), "mqtt"))
    with flying(device):
        # Answered in order, so the desire that came with the subscription is through by then.
        assert room.ask_until_answered(BAD, b"through").sha256 == sha256(TREE)


def test_a_daemon_that_is_stopped_does_not_encode_to_the_end(
    device: DeviceFile, mosquitto: Any, room: ControlRoom, tmp_path: Path, repository: Path
) -> None:
    path, cache = tmp_path / "device.yaml", tmp_path / "cache" / "text"
    path.write_text(
        "device: bird\nsource: {uri: demo}\nprompts: list.yaml\nstate_dir: state\n"
        f"mqtt: {{url: '{mosquitto.url}'}}\n"
    )
    sentences = [secrets.token_hex(8) for _ in range(MOST_SENT_SENTENCES)]
    starts = range(0, len(sentences), 32)
    prompts = [{"id": f"p{start}", "text": sentences[start : start + 32]} for start in starts]
    command = [sys.executable, "-m", "edge.cli", "run", str(path)]
    environment = {**os.environ, "REMOTECLIP_CACHE": str(cache.parent), "PYTHONPATH": str(repository)}
    with subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE) as daemon:
        try:
            room.ask_until_answered(BAD, b"through")
            known = len(list(cache.glob("*.embedding")))
            room.publish(TOPICS.prompts_set, json.dumps({"prompts": prompts}).encode())
            give_up = time.monotonic() + PATIENCE_S
            while len(list(cache.glob("*.embedding"))) == known:
                assert time.monotonic() < give_up
                time.sleep(0.01)
            daemon.send_signal(signal.SIGTERM)
            _, said = daemon.communicate(timeout=PATIENCE_S)
        finally:
            daemon.kill()
    assert daemon.returncode == 0, said.decode()
    assert len(list(cache.glob("*.embedding"))) < known + len(sentences)
