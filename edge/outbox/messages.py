"""What goes into the outbox and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["alert", "update", "telemetry"]
SHED_FIRST: tuple[Kind, ...] = ("telemetry", "update")  # raise and clear ("alert") are never shed


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message that waits for its PUBACK.

    created      when it was put, seconds since the epoch: what the clock said then, right or wrong
    correlation  MQTT 5 correlation data of an answer
    waited_s     seconds since it was put, by a clock that nobody sets; None: put before the last start
    backlog      whether it may have been queued before the present connection: the link, which knows, says
    """

    id: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    kind: Kind
    event_id: str | None
    created: float
    correlation: bytes | None = None
    waited_s: float | None = None
    backlog: bool = True


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event that the outbox still has: sent, or (`sent` is False) waiting in the queue."""

    boot_id: str
    seq: int
    event_id: str
    payload: bytes
    sent: bool


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """Messages queued by kind, the bytes they take, and what was shed since the outbox was opened."""

    alert: int
    update: int
    telemetry: int
    bytes: int
    shed_update: int
    shed_telemetry: int

    @property
    def queued(self) -> int:
        return self.alert + self.update + self.telemetry
