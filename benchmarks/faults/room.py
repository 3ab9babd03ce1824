"""The control room: a client that keeps to the documented procedure, and so loses nothing."""

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

from firmware_cfg.topics import ALL_DEVICES

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


class ControlRoom(Client):
    """Subscribes to everything with a kept session, and asks for the events that its gaps show.

    A gap is a `seq` that is missing below the highest one of its `boot_id`, or between two lives of one
    outbox, whose numbers go on. It is asked for when it is still there after `GRACE_S`.
    """

    GRACE_S = 1.0

    def __init__(self, port: int, device: str, **options: Any) -> None:
        super().__init__(port, "control-room", persistent=True, **options)
        self.device = device
        self.replays_asked = 0
        self._seen: dict[str, set[int]] = {}
        self._boots: dict[str, None] = {}
        self._closed = threading.Event()
        self._asker = threading.Thread(target=self._ask_for_gaps, name="replay", daemon=True)

    def start(self, *filters: str) -> None:
        """Connect, subscribe to every device, and watch for gaps."""
        super().start(*(filters or (ALL_DEVICES,)))
        if not self._asker.is_alive():
            self._asker.start()

    def close(self) -> None:
        """Stop for good."""
        self._closed.set()
        if self._asker.is_alive():
            self._asker.join()
        self.stop()

    def events(self) -> list[dict[str, Any]]:
        """Every delivery of an event in its order, repeated ones too."""
        topic = f"remoteclip/1/{self.device}/events"
        return [heard.body() for heard in self.snapshot() if heard.topic == topic]

    def steps(self) -> int:
        """How many different raises and clears have come."""
        return len({event["event_id"] for event in self.events() if event["msg_type"] != "update"})

    def last_event_at(self) -> float:
        """When the latest event came; 0 before the first."""
        topic = f"remoteclip/1/{self.device}/events"
        return max((heard.at for heard in self.snapshot() if heard.topic == topic), default=0.0)

    def first_event_after(self, moment: float) -> float | None:
        """When the first event after `moment` came, or None."""
        topic = f"remoteclip/1/{self.device}/events"
        return next((h.at for h in self.snapshot() if h.topic == topic and h.at >= moment), None)

    def statuses(self) -> list[dict[str, Any]]:
        """Every status in its order."""
        topic = f"remoteclip/1/{self.device}/status"
        return [heard.body() for heard in self.snapshot() if heard.topic == topic and heard.payload]

    def heard_state(self, state: str, times: int = 1) -> bool:
        """Whether a status said `state` that many times."""
        return sum(status["state"] == state for status in self.statuses()) >= times

    def take(self, heard: Heard) -> None:
        """Note the event's number, and boot ids whose events may be missing altogether."""
        if heard.topic == f"remoteclip/1/{self.device}/status" and heard.payload:
            self._boots.setdefault(heard.body()["boot_id"], None)
        elif heard.topic == f"remoteclip/1/{self.device}/events":
            event = heard.body()
            self._seen.setdefault(event["boot_id"], set()).add(event["seq"])

    def gaps(self) -> list[tuple[str, int]]:
        """(boot_id, seq) of events that were sent, as later ones show, and have not come.

        Numbers go on from one life of an outbox to the next, so what is missing between two of them may
        belong to either, or to one of which nothing came: all are named.
        """
        missing: list[tuple[str, int]] = []
        silent = [boot_id for boot_id in list(self._boots) if boot_id not in self._seen]
        before, last = "", None
        for boot_id, seen in list(self._seen.items()):
            numbers = set(seen)
            first = min(numbers)
            missing += [(boot_id, n) for n in range(first, max(numbers)) if n not in numbers]
            if last is not None and last < first:  # else it is another outbox, which counts anew
                missing += [(each, n) for n in range(last + 1, first) for each in (before, *silent, boot_id)]
            before, last = boot_id, max(numbers)
        return missing

    def _ask_for_gaps(self) -> None:
        first_noted: dict[tuple[str, int], float] = {}
        asked: dict[tuple[str, int], float] = {}
        while not self._closed.wait(0.1):
            now = time.monotonic()
            first_noted = {gap: first_noted.get(gap, now) for gap in self.gaps()}
            ripe = now - self.GRACE_S
            due = [gap for gap, noted in first_noted.items() if noted < ripe]
            due = [gap for gap in due if asked.get(gap, 0.0) < ripe - 4 * self.GRACE_S]
            for boot_id in {boot_id for boot_id, _ in due} if self.online.is_set() else ():
                numbers = sorted(number for boot, number in due if boot == boot_id)
                asked |= {(boot_id, number): now for number in numbers}
                self.replays_asked += 1
                request = {"schema": 1, "boot_id": boot_id, "ranges": _ranges(numbers)}
                self.publish(f"remoteclip/1/{self.device}/events/replay", json.dumps(request).encode())


def _ranges(numbers: list[int]) -> list[list[int]]:
    """[1, 2, 5] as [[1, 2], [5, 5]], at most 64 of them."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found[:64]
