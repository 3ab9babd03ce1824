"""One simulated drone: its outbox, its session and its pauses between tries, as edge/mqtt keeps them."""

from __future__ import annotations

import contextlib
import math
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone

from benchmarks.fleet import wire
from benchmarks.fleet.loop import Link, Loop
from benchmarks.fleet.payloads import Kind, Script, Template
from edge.backoff import Backoff
from edge.events import HISTORICAL_AFTER_S
from edge.mqtt.connection import CONNECT_TIMEOUT, MAX_IN_FLIGHT, MAX_INCOMING
from edge.mqtt.drain_plan import BACKLOG_RATE
from edge.mqtt.subscriptions import SWEEP_TIME

KEEPALIVE = 30
STEADY = 10.0  # seconds a connection must last before the next pause is short again: edge/mqtt/reconnect.py
_FLAPPING = 3


@dataclass(frozen=True, slots=True)
class Login:
    """How the fleet gets in: a password or a certificate for each drone, by its name, or nothing."""

    port: int
    version: wire.Version = "5"
    passwords: Mapping[str, bytes] = field(default_factory=dict)
    context: Callable[[str], ssl.SSLContext] | None = None


@dataclass(slots=True)
class Tally:
    """What all drones of one generator did since the last report; moments by the monotonic clock."""

    events: int = 0
    messages: int = 0
    acknowledged: int = 0
    tries: list[float] = field(default_factory=list)
    online: list[float] = field(default_factory=list)
    lost: int = 0
    refused: int = 0

    def plus(self, other: Tally) -> Tally:
        """What two generators did; lists one after the other."""
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def taken(self) -> Tally:
        """A copy, and everything begins anew."""
        copy = Tally(*(getattr(self, each.name) for each in fields(self)))
        fresh = Tally()
        for each in fields(self):
            setattr(self, each.name, getattr(fresh, each.name))
        return copy


@dataclass(slots=True)
class _Waiting:
    topic: bytes
    template: Template
    values: dict[str, bytes]
    put: float
    retain: bool


class Drone:
    """`connect` once; from then on it keeps its connection, and `tell_...` puts messages into its outbox."""

    def __init__(self, script: Script, login: Login, loop: Loop, tally: Tally) -> None:
        self.script, self._login, self._loop, self._tally = script, login, loop, tally
        self.name = script.topics.device
        self.link: Link | None = None
        self.greeted = False
        self._outbox: dict[object, _Waiting] = {}
        self._in_flight: dict[int, tuple[object, _Waiting]] = {}
        self._window = MAX_IN_FLIGHT - 1  # one place is kept for the status, as in edge/mqtt/drain.py
        self._mid = self._status_mid = self._sweep_mid = 0
        self._backoff = Backoff()
        self._short_lived = 0
        self._began = self._sent = 0.0
        self._next_old = 0.0  # when the next message of the backlog may go
        self._sweep_ends = math.inf
        self._seq = self._frame = 0
        self._alert: tuple[str, Kind] | None = None
        loop.at(time.monotonic() + 1.0, self._tick)

    @property
    def queued(self) -> int:
        """Messages that are not acknowledged."""
        return len(self._outbox) + len(self._in_flight)

    def connect(self, now: float) -> None:
        """One try; where it fails, the next one follows by itself."""
        self._tally.tries.append(now)
        context = None if self._login.context is None else self._login.context(self.name)
        hello = wire.Hello(
            client_id=f"remoteclip-{self.name}",
            keepalive=KEEPALIVE,
            will=(self.script.topics.status, self.script.status("offline")),
            max_packet=MAX_INCOMING,
            username=self.name if self._login.passwords else None,
            password=self._login.passwords.get(self.name),
        )
        self._began = now
        try:
            self.link = Link(self._loop, self._login.port, self._step, context)
            self.link.send(wire.connect(hello, self._login.version))
        except OSError:
            self._ended(now)

    def _step(self) -> None:
        """The socket has something to tell."""
        if self.link is None:
            return
        now = time.monotonic()
        try:
            for first, body in self.link.step():
                self._take(first, body, now)
            if self.link is not None and self.greeted:
                self._drain(now)
        except OSError:
            self._ended(now)

    def _tick(self, now: float) -> None:
        """Once a second: timeouts, pings, the end of the sweep."""
        self._loop.at(now + 1.0, self._tick)
        if self.link is None:
            return
        try:
            if not self.greeted and now - self._began > 2 * CONNECT_TIMEOUT:
                raise OSError("no answer in time")
            if now >= self._sweep_ends:
                self._sweep_ends = math.inf
                self._send(wire.unsubscribe(self._next_mid(), self.script.topics.left_behind, self._version))
            if self.greeted and now - self._sent > KEEPALIVE / 2:
                self._send(wire.PINGREQ)
        except OSError:
            self._ended(now)

    def stop(self) -> None:
        """The goodbye: the status `stopped`, then the end, without a last will. For the end of a run."""
        if self.link is not None:
            if self.greeted:
                status = self.script.topics.status.encode()
                body = self.script.status("stopped")
                packet = wire.publish(status, body, self._next_mid(), self._version, retain=True)
                with contextlib.suppress(OSError):
                    self.link.send(packet + wire.GOODBYE)
            self.link.close()
            self.link = None

    def tell_counts(self, now: float) -> None:
        """New counts of every prompt; they replace those that wait."""
        self._frame += 25
        values = {"observed_at": _stamp(), "frame": str(self._frame).encode()}
        for topic, template in self.script.counts.items():
            self._put(topic, _Waiting(topic, template, values, now, True))
        self._drain_if_online(now)

    def tell_health(self, now: float) -> None:
        """New health; it replaces the one that waits."""
        topic = self.script.topics.health.encode()
        self._put(topic, _Waiting(topic, self.script.health, {}, now, True))
        self._drain_if_online(now)

    def tell_event(self, due: float, now: float) -> None:
        """The next step of this drone's alert, which was due at `due`: raise, update, clear, and so on."""
        if self._alert is None or self._alert[1] == "clear":
            self._alert = (uuid.uuid4().hex, "raise")
        else:
            self._alert = (self._alert[0], "update" if self._alert[1] == "raise" else "clear")
        alert, kind = self._alert
        self._seq += 1
        values = {
            "alert_id": alert.encode(),
            "event_id": uuid.uuid4().hex.encode(),
            "seq": str(self._seq).encode(),
            "observed_at": _stamp(),
            "mono_ns": str(int(due * 1e9)).encode(),
            "frame": str(self._frame).encode(),
        }
        topic = self.script.topics
        retained = _EMPTY if kind == "clear" else self.script.alert[kind]
        self._put(
            ("event", self._seq), _Waiting(topic.events.encode(), self.script.event[kind], values, now, False)
        )
        self._put(("alert", self._seq), _Waiting(topic.alert(alert).encode(), retained, values, now, True))
        self._tally.events += 1
        self._drain_if_online(now)

    def _drain(self, now: float) -> None:
        """Sends what may be in flight, oldest first; what is older than the connection at its own pace."""
        packets = []
        while self._outbox and len(self._in_flight) < self._window:
            key = next(iter(self._outbox))
            waiting = self._outbox[key]
            values, old = waiting.values, waiting.put < self._began
            if old:
                if now < self._next_old:
                    break
                self._next_old = now + 1.0 / BACKLOG_RATE
                self._loop.at(self._next_old, self._drain_if_online)
                if now - waiting.put > HISTORICAL_AFTER_S:
                    values = values | {"historical": b'"historical":true'}
            del self._outbox[key]
            payload = waiting.template.fill(values | {"sent_at": _stamp()})
            mid = self._next_mid()
            self._in_flight[mid] = (key, waiting)
            packets.append(wire.publish(waiting.topic, payload, mid, self._version, retain=waiting.retain))
        if packets:
            self._tally.messages += len(packets)
            self._send(b"".join(packets))

    @property
    def _version(self) -> wire.Version:
        return self._login.version

    def _take(self, first: int, body: bytes, now: float) -> None:
        kind = first & 0xF0
        if kind == wire.PUBACK:
            mid = int.from_bytes(body[:2], "big")
            if mid == self._status_mid:
                self._online(now)
            elif self._in_flight.pop(mid, None) is not None:
                self._tally.acknowledged += 1
                if len(body) > 2 and body[2] >= 0x80:
                    self._tally.refused += 1
        elif kind == wire.PUBLISH:
            mid_bytes = wire.delivery(first, body, self._version).mid
            if mid_bytes:
                self._send(wire.puback(mid_bytes))
        elif kind == wire.CONNACK:
            if wire.refusal(body):
                self._tally.refused += 1
                raise OSError("refused")
            self._window = wire.receive_maximum(body, self._version, MAX_IN_FLIGHT) - 1
            self._status_mid = self._next_mid()
            status, online = self.script.topics.status.encode(), self.script.status("online")
            self._send(wire.publish(status, online, self._status_mid, self._version, retain=True))
        elif kind == wire.SUBACK and int.from_bytes(body[:2], "big") == self._sweep_mid:
            self._sweep_ends = now + SWEEP_TIME
        elif kind == wire.DISCONNECT:
            raise OSError("disconnected by the broker")

    def _online(self, now: float) -> None:
        """The status is with the broker: subscribe, and tell the list again, which a broker may have lost."""
        self._status_mid, self.greeted = 0, True
        self._tally.online.append(now)
        topics = self.script.topics
        self._send(wire.subscribe(self._next_mid(), topics.requests, self._version, own=False))
        self._sweep_mid = self._next_mid()
        self._send(wire.subscribe(self._sweep_mid, topics.left_behind, self._version))
        state = topics.prompts_state.encode()
        self._put(state, _Waiting(state, Template(self.script.prompts_state), {}, now, True))
        self._drain(now)

    def _ended(self, now: float) -> None:
        """The connection, or the try, has failed: what was in flight is sent again."""
        if self.link is not None:
            self.link.close()
            self.link = None
        if self.greeted:
            self._tally.lost += 1
            lasted = now - self._began >= STEADY
            self._short_lived = 0 if lasted else self._short_lived + 1
            self._backoff.reset(min(self._short_lived, _FLAPPING))
        self.greeted, self._status_mid = False, 0
        # What a newer message of the same topic has replaced is not sent again.
        self._outbox = dict(self._in_flight.values()) | self._outbox
        self._in_flight.clear()
        self._sweep_ends = math.inf
        self._loop.at(now + self._backoff.next(), self.connect)

    def _drain_if_online(self, now: float) -> None:
        if self.greeted:
            try:
                self._drain(now)
            except OSError:
                self._ended(now)

    def _put(self, key: object, waiting: _Waiting) -> None:
        self._outbox.pop(key, None)
        self._outbox[key] = waiting

    def _send(self, data: bytes) -> None:
        assert self.link is not None
        self._sent = time.monotonic()
        self.link.send(data)

    def _next_mid(self) -> int:
        self._mid = self._mid % 65535 + 1
        return self._mid


_EMPTY = Template(b"")


def _stamp() -> bytes:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z").encode()
