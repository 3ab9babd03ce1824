"""One simulated drone: its outbox, its session and its pauses between tries, as edge/mqtt keeps them."""

from __future__ import annotations

import contextlib
import math
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from benchmarks.fleet import wire
from benchmarks.fleet.loop import Link, Loop
from benchmarks.fleet.outbox import Outbox, Waiting
from benchmarks.fleet.payloads import Kind, Script, Template
from benchmarks.fleet.tally import Tally
from edge.backoff import Backoff
from edge.mqtt.connection import CONNECT_TIMEOUT, MAX_IN_FLIGHT, MAX_INCOMING
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


class Drone:
    """`connect` once; from then on it keeps its connection, and `tell_...` puts messages into its outbox."""

    def __init__(self, script: Script, login: Login, loop: Loop, tally: Tally) -> None:
        self.script, self._login, self._loop, self._tally = script, login, loop, tally
        self.name = script.topics.device
        self.link: Link | None = None
        self.greeted = False
        # One place is kept for the status, as in edge/mqtt/drain.py.
        self._outbox = Outbox(MAX_IN_FLIGHT - 1)
        self._mid = self._status_mid = self._sweep_mid = 0
        self._backoff = Backoff()
        self._short_lived = 0
        self._began = self._sent = 0.0
        self._sweep_ends = math.inf
        self._seq = self._frame = 0
        self._alert: tuple[str, Kind] = ("", "clear")
        loop.at(time.monotonic() + 1.0, self._tick)

    @property
    def queued(self) -> int:
        """Messages that are not acknowledged."""
        return len(self._outbox)

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
            self._outbox.put(topic, Waiting(topic, template, values, now))
        self._drain_if_online(now)

    def tell_health(self, now: float) -> None:
        """New health; it replaces the one that waits."""
        topic = self.script.topics.health.encode()
        self._outbox.put(topic, Waiting(topic, self.script.health, {}, now))
        self._drain_if_online(now)

    def tell_event(self, due: float, now: float) -> None:
        """The next step of this drone's alert, which was due at `due`: raise, update, clear, and so on."""
        alert, last = self._alert
        kind = _NEXT[last]
        if kind == "raise":
            alert = uuid.uuid4().hex
        self._alert = (alert, kind)
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
        self._outbox.put(
            ("event", self._seq), Waiting(topic.events.encode(), self.script.event[kind], values, now, False)
        )
        self._outbox.put(("alert", self._seq), Waiting(topic.alert(alert).encode(), retained, values, now))
        self._tally.events += 1
        self._drain_if_online(now)

    def _drain(self, now: float) -> None:
        """Sends what may be in flight, oldest first; what is older than the connection at its own pace."""
        packets = []
        sent_at = _stamp()
        for key, message, values in self._outbox.take(now, self._began):
            payload = message.template.fill({**values, "sent_at": sent_at})
            mid = self._next_mid()
            self._outbox.sent(mid, key, message)
            packets.append(wire.publish(message.topic, payload, mid, self._version, retain=message.retain))
        if self._outbox.held_back:
            self._loop.at(self._outbox.next_old, self._drain_if_online)
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
            elif self._outbox.acknowledged(mid):
                self._tally.acknowledged += 1
                if len(body) > 2 and body[2] >= 0x80:
                    self._tally.refused += 1
        elif kind == wire.PUBLISH:
            self._send(
                wire.puback(wire.delivery(first, body, self._version).mid)
            )  # all is asked for with QoS 1
        elif kind == wire.CONNACK:
            if wire.refusal(body):
                self._tally.refused += 1
                raise OSError("refused")
            self._outbox.window = wire.receive_maximum(body, self._version, MAX_IN_FLIGHT) - 1
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
        self._outbox.put(state, Waiting(state, Template(self.script.prompts_state), {}, now))
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
        self._outbox.connection_ended()
        self._sweep_ends = math.inf
        self._loop.at(now + self._backoff.next(), self.connect)

    def _drain_if_online(self, now: float) -> None:
        if self.greeted:
            try:
                self._drain(now)
            except OSError:
                self._ended(now)

    def _send(self, data: bytes) -> None:
        assert self.link is not None
        self._sent = time.monotonic()
        self.link.send(data)

    def _next_mid(self) -> int:
        self._mid = self._mid % 65535 + 1
        return self._mid


_EMPTY = Template(b"")
_NEXT: dict[Kind, Kind] = {"clear": "raise", "raise": "update", "update": "clear"}


def _stamp() -> bytes:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z").encode()
