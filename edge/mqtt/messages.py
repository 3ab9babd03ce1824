"""What crosses one connection to a broker, and what that connection tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What is published: also the form of a last will.

    `correlation` goes with an answer, as the one who asked gave it; MQTT 3.1.1 cannot carry it.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """What the broker handed on. Nothing in it can be trusted, `response_topic` no more than the payload.

    `retained`: the broker kept it, nobody has just sent it. `response_topic` and `correlation` are those of
    an MQTT 5 request.
    """

    topic: str
    payload: bytes
    retained: bool
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker's PUBACK (or SUBACK) for packet `mid`; `problem` is None unless it refused."""

    mid: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection ended, whoever ended it."""

    reason: str


ConnectionEvent = Acknowledged | Closed
MessageHandler = Callable[[IncomingMessage], None]
