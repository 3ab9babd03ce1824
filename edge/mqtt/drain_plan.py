"""What the drains of all connections of a link have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge.mqtt.refused import RETRY_TIME
from edge.mqtt.suspects import Suspects
from edge.outbox.outbox import Outbox, QueuedMessage
from firmware_cfg.topics import Topics

BACKLOG_RATE = 50.0  # messages a second


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """Of what, and how, a link drains.

    Args:
        stamp: may replace a payload at the moment of sending.
        backlog_rate: messages a second of what was queued before the connection was made.
        retry_time: seconds until what was refused is tried again.
    """

    outbox: Outbox
    topics: Topics
    stamp: Callable[[QueuedMessage], bytes] | None = None
    backlog_rate: float = BACKLOG_RATE
    retry_time: float = RETRY_TIME
    suspects: Suspects = field(default_factory=Suspects)
