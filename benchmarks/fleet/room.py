"""A process that is the control room: subscribes, counts, and measures each event from due to received."""

from __future__ import annotations

import ssl
import time
from array import array
from collections import deque
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.fleet import wire
from benchmarks.fleet.generator import Tell, contexts
from benchmarks.fleet.loop import Link, Loop
from edge.mqtt.connection import SESSION_EXPIRY
from firmware_cfg.topics import ALL_DEVICES

_LONGEST_WAIT = 1.0
_MONO, _HISTORICAL, _SEQ = b'"mono_ns":', b'"historical":true', b'"seq":'
_KEEPALIVE = 60


@dataclass(frozen=True, slots=True)
class Desk:
    """One subscriber.

    Args:
        name: the user name; its client id is `ident`.
        kept: the broker keeps its session while it is away.
        delay_s: its acknowledgements leave so long after the messages came: the round trip of a far network.
    """

    ident: str
    port: int
    version: wire.Version = "5"
    name: str | None = None
    password: bytes | None = None
    certificates: Path | None = None
    filters: tuple[str, ...] = (ALL_DEVICES,)
    kept: bool = False
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Come:
    """Connect and subscribe."""


@dataclass(frozen=True, slots=True)
class Go:
    """Disconnect, without a last word."""


@dataclass(slots=True)
class Heard:
    """What came since the last look; moments in seconds of the monotonic clock.

    events      on `events`, repeats too; those told late, as `historical`, are in `late`
    latency_s   of each event that is news
    missing     events whose `seq` was passed over, between the first and the latest of their drone, in all
    retained    messages that the broker had kept
    last_at     when the newest message came
    subscribed  when the broker accepted the subscription, 0 if it has not
    """

    messages: int = 0
    received_bytes: int = 0
    events: int = 0
    late: int = 0
    retained: int = 0
    latency_s: array[float] = field(default_factory=lambda: array("d"))
    missing: int = 0
    last_at: float = 0.0
    last_retained_at: float = 0.0
    subscribed: float = 0.0
    losses: int = 0
    cpu_s: float = 0.0

    def plus(self, later: Heard) -> Heard:
        """Both looks as one."""
        both = replace(later, latency_s=self.latency_s + later.latency_s)
        for name in ("messages", "received_bytes", "events", "late", "retained", "losses"):
            setattr(both, name, getattr(self, name) + getattr(later, name))
        both.last_at = later.last_at or self.last_at
        both.last_retained_at = later.last_retained_at or self.last_retained_at
        return both


def listen(desk: Desk, pipe: Connection) -> None:
    """The main function of the process. None through the pipe ends it."""
    room = _Room(desk)
    room.loop.watch(pipe.fileno(), lambda: room.obey(pipe))
    try:
        while not room.over:
            room.loop.turn(_LONGEST_WAIT)
    except KeyboardInterrupt:  # the parent gets it, too, and ends the run
        pass


class _Room:
    def __init__(self, desk: Desk) -> None:
        self.loop = Loop()
        self.over = False
        self._desk = desk
        self._link: Link | None = None
        self._heard = Heard()
        self._subscribed = 0.0
        # By drone: up to which seq all have come, and which ones beyond that.
        self._seen: dict[bytes, tuple[int, set[int]]] = {}
        self._acks: deque[tuple[float, bytes]] = deque()
        self._context = contexts(desk.certificates)

    def obey(self, pipe: Connection) -> None:
        """One command of the parent."""
        try:
            command = pipe.recv()
        except EOFError:  # the parent is gone
            command = None
        if isinstance(command, Come):
            self._come(time.monotonic())
        elif isinstance(command, Go):
            self._leave()
        elif isinstance(command, Tell):
            pipe.send(self._taken())
        else:
            self.over = True

    def _come(self, now: float) -> None:
        desk = self._desk
        context: ssl.SSLContext | None = None
        if self._context is not None:
            context = self._context(desk.name or desk.ident)
        hello = wire.Hello(
            client_id=desk.ident,
            keepalive=_KEEPALIVE,
            keep_session=SESSION_EXPIRY if desk.kept else None,
            username=desk.name,
            password=desk.password,
        )
        try:
            self._link = Link(self.loop, desk.port, self._step, context)
            self._link.send(wire.connect(hello, desk.version))
        except OSError:
            self._lost(now)
        else:
            self.loop.at(now + _KEEPALIVE / 2, self._ping)

    def _leave(self) -> None:
        self._subscribed = 0.0
        self._acks.clear()
        if self._link is not None:
            self._link.close()
            self._link = None

    def _lost(self, now: float) -> None:
        self._heard.losses += 1
        self._leave()
        self.loop.at(now + 0.1, self._come)

    def _ping(self, now: float) -> None:
        if self._link is not None and self._subscribed:
            self._send(wire.PINGREQ)
            self.loop.at(now + _KEEPALIVE / 2, self._ping)

    def _step(self) -> None:
        link, now = self._link, time.monotonic()
        if link is None:
            return
        acks: list[bytes] = []
        try:
            for first, body in link.step():
                kind = first & 0xF0
                if kind == wire.PUBLISH:
                    acks.append(self._take(wire.delivery(first, body, self._desk.version), now))
                elif kind == wire.CONNACK:
                    if wire.refusal(body):
                        raise OSError("refused")
                    link.send(wire.subscribe(1, self._desk.filters, self._desk.version))
                elif kind == wire.SUBACK:
                    self._subscribed = now
        except OSError:
            self._lost(now)
            return
        if acks and self._desk.delay_s:
            self._acks.append((now + self._desk.delay_s, b"".join(acks)))
            self.loop.at(now + self._desk.delay_s, self._acknowledge)
        elif acks:
            self._send(b"".join(acks))

    def _acknowledge(self, now: float) -> None:
        while self._acks and self._acks[0][0] <= now:
            self._send(self._acks.popleft()[1])

    def _send(self, data: bytes) -> None:
        if self._link is not None:
            try:
                self._link.send(data)
            except OSError:
                self._lost(time.monotonic())

    def _take(self, message: wire.Delivery, now: float) -> bytes:
        heard = self._heard
        heard.messages += 1
        heard.received_bytes += len(message.topic) + len(message.payload)
        heard.last_at = now
        if message.retained:
            heard.retained += 1
            heard.last_retained_at = now
        elif message.topic.endswith(b"/events"):
            heard.events += 1
            self._note(message.topic, _number(message.payload, _SEQ))
            if _HISTORICAL in message.payload:
                heard.late += 1
            else:
                heard.latency_s.append(now - _number(message.payload, _MONO) / 1e9)
        return wire.puback(message.mid) if message.mid else b""

    def _note(self, drone: bytes, seq: int) -> None:
        done, beyond = self._seen.setdefault(drone, (seq - 1, set()))
        if seq > done:
            beyond.add(seq)
        while done + 1 in beyond:
            done += 1
            beyond.remove(done)
        self._seen[drone] = (done, beyond)

    def _missing(self) -> int:
        return sum(max(beyond) - done - len(beyond) for done, beyond in self._seen.values() if beyond)

    def _taken(self) -> Heard:
        heard, self._heard = self._heard, Heard()
        heard.missing = self._missing()
        heard.subscribed = self._subscribed
        heard.cpu_s = time.process_time()
        return heard


def _number(payload: bytes, name: bytes) -> int:
    at = payload.find(name)
    if at < 0:
        return 0
    at += len(name)
    return int(payload[at : payload.index(b",", at)])
