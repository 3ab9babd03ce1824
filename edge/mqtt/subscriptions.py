"""What a device listens to on one connection: its requests, and for a moment what the broker kept of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from edge.mqtt.connection import Connection
from edge.mqtt.messages import Acknowledged, IncomingMessage
from edge.mqtt.refused import RETRY_TIME
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

SWEEP_TIME = 5.0  # seconds after the SUBACK in which the retained messages of an earlier run come
_CUT_OFF_LIMIT = 3
_REQUESTS = "requests are not heard"
_SWEEP = "alerts that an earlier run left behind are not swept"


def is_echo(message: IncomingMessage) -> bool:
    """What we publish while the sweep lasts comes back to us: only what the broker had kept matters."""
    topic = Topics.parse(message.topic)
    return topic is not None and topic.channel in ("alerts", "counts") and not message.retained


class SubscribeRight:
    """Whether to subscribe at all: a broker may hang up on whom it does not let (AWS IoT).

    Shared by all connections of a link, and with it what was said of refused subscriptions.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._cut_off = 0  # connections in a row that ended between SUBSCRIBE and SUBACK
        self._told: set[str] = set()

    def ended(self, *, unanswered: bool) -> None:
        """A connection ended; was a SUBACK due?"""
        self._cut_off = self._cut_off + 1 if unanswered else 0

    def may_ask(self) -> bool:
        """To be called once for each connection."""
        if self._cut_off < _CUT_OFF_LIMIT:
            return True
        self._cut_off -= 1  # the next connection may try again
        self.tell(f"{_REQUESTS}: the broker hangs up on the subscription")
        return False

    def tell(self, problem: str) -> None:
        """One warning for each problem."""
        if problem not in self._told:
            self._told.add(problem)
            log.warning("%s: %s (let this device read there)", self._topics.root, problem)


class Subscriptions:
    """`ask` after the birth, `book` with every acknowledgement, `tick` when `wait` is over.

    Requests are listened to for as long as the connection lasts, what was left behind for `sweep_time`
    seconds. What the broker refuses is asked for again after `retry_time`; publishing goes on.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Topics,
        right: SubscribeRight,
        on_sweep: Callable[[bool], None],
        *,
        sweep_time: float = SWEEP_TIME,
        retry_time: float = RETRY_TIME,
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._right = right
        self._on_sweep = on_sweep
        self._sweep_time = sweep_time
        self._retry_time = retry_time
        self._due: dict[int, str] = {}  # mid -> what the subscription is for
        self._refused: set[str] = set()
        self._retry_at: float | None = None
        self._sweep_ends: float | None = None

    @property
    def unanswered(self) -> bool:
        """Whether a SUBACK is due."""
        return bool(self._due)

    def ask(self, wanted: Iterable[str] = (_REQUESTS, _SWEEP)) -> None:
        """Subscribes to everything."""
        for each in wanted:
            # What we publish ourselves is no request. But retained messages of ours are what a sweep is for,
            # and some brokers (EMQX) count those as our own publications, too: so the sweep sees our echo.
            if each == _REQUESTS:
                mid = self._connection.subscribe(self._topics.requests, own=False)
            else:
                self._on_sweep(True)
                mid = self._connection.subscribe(self._topics.left_behind)
            self._due[mid] = each

    def book(self, acknowledged: Sequence[Acknowledged]) -> None:
        """Takes note of SUBACKs; others are ignored."""
        for each in acknowledged:
            meaning = self._due.pop(each.mid, None)
            if meaning is None:
                continue
            if each.problem:
                self._right.tell(f"{meaning}: the broker refuses the subscription: {each.problem}")
                self._refused.add(meaning)
                self._retry_at = time.monotonic() + self._retry_time
            elif meaning == _SWEEP:
                self._sweep_ends = time.monotonic() + self._sweep_time

    def wait(self) -> float | None:
        """Seconds until `tick` has something to do, None if nothing is planned."""
        planned = [each for each in (self._sweep_ends, self._retry_at) if each is not None]
        return max(0.0, min(planned) - time.monotonic()) if planned else None

    def tick(self) -> None:
        """Ends the sweep when its time is over, and asks again for what was refused."""
        now = time.monotonic()
        if self._sweep_ends is not None and now >= self._sweep_ends:
            self._sweep_ends = None
            self._connection.unsubscribe(self._topics.left_behind)
            self._on_sweep(False)
        if self._retry_at is not None and now >= self._retry_at:
            refused, self._refused, self._retry_at = sorted(self._refused), set(), None
            self.ask(refused)
