"""An MQTT client that remembers what it heard: control rooms, visitors and intruders of the faults."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SESSION_S = 3600
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Heard:
    """One delivery; `at` is of the monotonic clock, in seconds."""

    topic: str
    payload: bytes
    retained: bool
    at: float

    def body(self) -> dict[str, Any]:
        """The JSON object that the payload is."""
        found = json.loads(self.payload)
        assert isinstance(found, dict)
        return found


class Client:
    """A paho client, apart from the daemon's own code: it must not share that code's mistakes.

    Args:
        persistent: the broker keeps the session while it is away.
        most: how many deliveries are kept; default: all.
        prepare: adds what the login takes.
    """

    def __init__(
        self,
        port: int,
        client_id: str,
        *,
        persistent: bool = False,
        most: int | None = None,
        prepare: Callable[[paho.Client], None] | None = None,
    ) -> None:
        self.heard: deque[Heard] = deque(maxlen=most)
        self.refused: list[str] = []
        self.online = threading.Event()
        self._filters: tuple[str, ...] = ()
        self._persistent = persistent
        self._port = port
        self._changed = threading.Condition()
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        client.reconnect_delay_set(0.2, 0.5)
        client.max_inflight_messages = 0
        if prepare is not None:
            prepare(client)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def start(self, *filters: str) -> None:
        """Connect (and again for ever), and subscribe on every connection."""
        self._filters = filters
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_S if self._persistent else 0
        self._client.connect_async(
            "127.0.0.1", self._port, 10, clean_start=not self._persistent, properties=properties
        )
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect; a persistent session stays with the broker."""
        self._client.disconnect()
        self._client.loop_stop()
        self.online.clear()

    def come_back(self) -> None:
        """Connect again after `stop`."""
        self.start(*self._filters)

    def drop(self) -> None:
        """Lose the connection, as a failing network does; it is made again by itself."""
        cut = self._client.socket()
        if isinstance(cut, socket.socket):
            with contextlib.suppress(OSError):
                cut.shutdown(socket.SHUT_RDWR)

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: Properties | None = None
    ) -> None:
        """Publish with QoS 1, without waiting."""
        self._client.publish(topic, payload, 1, retain, properties)

    def snapshot(self) -> list[Heard]:
        """All deliveries so far, in their order."""
        with self._changed:
            return list(self.heard)

    def wait(self, wanted: Callable[[list[Heard]], bool], timeout: float) -> bool:
        """Wait until `wanted` holds for the deliveries so far; False when it never did."""
        deadline = time.monotonic() + timeout
        while not wanted(self.snapshot()):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refused.append(reason.getName())
            return
        if self._filters:
            self._client.subscribe([(each, 1) for each in self._filters])
        else:
            self.online.set()

    def _on_disconnect(self, *_: Any) -> None:
        self.online.clear()

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        self.refused += [reason.getName() for reason in reasons if reason.is_failure]
        self.online.set()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        heard = Heard(message.topic, bytes(message.payload), message.retain, time.monotonic())
        with self._changed:
            self.heard.append(heard)
        self.take(heard)

    def take(self, heard: Heard) -> None:
        """For subclasses: called in the network thread after each delivery was noted."""
