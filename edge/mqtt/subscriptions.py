"""What a device listens to on one connection: its requests, and for a moment what the broker kept of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from edge.mqtt.connection import Connection
from edge.mqtt.messages import Acknowledged
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

SWEEP_TIME = 5.0  # seconds after the SUBACK in which the retained messages of an earlier run come


class Subscriptions:
    """`ask` after the birth, `book` with every acknowledgement, `tick` when `wait` is over.

    Requests are listened to for as long as the connection lasts, what was left behind for `sweep_time`
    seconds. A broker that refuses is one warning, even over many connections, if they share `told`;
    publishing goes on.
    """

    def __init__(self, connection: Connection, topics: Topics, sweep_time: float, told: set[str]) -> None:
        self._connection = connection
        self._topics = topics
        self._sweep_time = sweep_time
        self._told = told
        self._due: dict[int, str] = {}  # mid -> what the subscription is for
        self._sweep_mid = 0
        self._sweep_ends: float | None = None

    @property
    def unanswered(self) -> bool:
        """Whether a SUBACK is due."""
        return bool(self._due)

    def ask(self) -> None:
        """Subscribes to everything."""
        # What we publish ourselves is no request. But retained messages of ours are what a sweep is for, and
        # some brokers (EMQX) count those as our own publications, too: so the sweep sees the echo of ours.
        requests = self._connection.subscribe(self._topics.requests, own=False)
        self._sweep_mid = self._connection.subscribe(self._topics.left_behind)
        self._due = {
            requests: "requests are not heard",
            self._sweep_mid: "alerts that an earlier run left behind are not swept",
        }

    def book(self, acknowledged: Sequence[Acknowledged]) -> None:
        """Takes note of SUBACKs; others are ignored."""
        for each in acknowledged:
            meaning = self._due.pop(each.mid, None)
            if meaning is None:
                continue
            if each.problem and meaning not in self._told:
                self._told.add(meaning)
                log.warning(
                    "%s: %s: the broker refuses the subscription: %s (let this device read there)",
                    *(self._topics.root, meaning, each.problem),
                )
            if each.mid == self._sweep_mid and not each.problem:
                self._sweep_ends = time.monotonic() + self._sweep_time

    def wait(self) -> float | None:
        """Seconds until `tick` has something to do, None if nothing is planned."""
        return None if self._sweep_ends is None else max(0.0, self._sweep_ends - time.monotonic())

    def tick(self) -> bool:
        """Ends the sweep when its time is over; True where it did."""
        if self._sweep_ends is None or time.monotonic() < self._sweep_ends:
            return False
        self._sweep_ends = None
        self._connection.unsubscribe(self._topics.left_behind)
        return True
