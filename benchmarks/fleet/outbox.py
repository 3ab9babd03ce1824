"""What a simulated drone has to say: kept until it is acknowledged, sent oldest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.fleet.payloads import Template
from edge.events import HISTORICAL_AFTER_S
from edge.mqtt.drain_plan import BACKLOG_RATE

_HISTORICAL = {"historical": b'"historical":true'}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message; `put` is when, by the monotonic clock, in seconds."""

    topic: bytes
    template: Template
    values: Mapping[str, bytes]
    put: float
    retain: bool = True


class Outbox:
    """In memory. A message with the key of one that waits takes its place, at the end.

    Attributes:
        window: how many messages may be without an acknowledgement.
        next_old: when the next message of the backlog may go; one is that is older than the connection.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.next_old = 0.0
        self._waiting: dict[object, Waiting] = {}
        self._in_flight: dict[int, tuple[object, Waiting]] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def put(self, key: object, message: Waiting) -> None:
        """Queues a message."""
        self._waiting.pop(key, None)
        self._waiting[key] = message

    def take(self, now: float, connected_at: float) -> Iterator[tuple[object, Waiting, Mapping[str, bytes]]]:
        """What may go now: the key, the message, and what fills it. Each is to be told to `sent` at once."""
        while self._waiting and len(self._in_flight) < self.window:
            key = next(iter(self._waiting))
            message = self._waiting[key]
            values = message.values
            if message.put < connected_at:
                if now < self.next_old:
                    return
                self.next_old = now + 1.0 / BACKLOG_RATE
                if now - message.put > HISTORICAL_AFTER_S:
                    values = {**values, **_HISTORICAL}
            del self._waiting[key]
            yield key, message, values

    @property
    def held_back(self) -> bool:
        """Whether only the pace of the backlog keeps a message here."""
        return bool(self._waiting) and len(self._in_flight) < self.window

    def sent(self, mid: int, key: object, message: Waiting) -> None:
        """The message is on its way."""
        self._in_flight[mid] = (key, message)

    def acknowledged(self, mid: int) -> bool:
        """Forgets a message. False for the packet id of something else."""
        return self._in_flight.pop(mid, None) is not None

    def connection_ended(self) -> None:
        """What was in flight goes again; but not what a newer message of its topic has replaced."""
        self._waiting = dict(self._in_flight.values()) | self._waiting
        self._in_flight.clear()
