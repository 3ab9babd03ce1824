"""What one connection takes out of the outbox: the order, the pace, and what is in flight."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

from edge.mqtt.connection import Connection
from edge.mqtt.messages import Acknowledged, OutgoingMessage
from edge.outbox.outbox import Outbox, QueuedMessage
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

BACKLOG_RATE = 50.0  # messages a second


class Drain:
    """`say` the status, then `fill` and `book` as acknowledgements come. Runs in the link's thread.

    Messages go out oldest first. What was queued before this connection was made is its backlog, and goes
    with at most `backlog_rate` messages a second; what is newer waits behind it, then goes at once.
    """

    def __init__(
        self,
        connection: Connection,
        outbox: Outbox,
        topics: Topics,
        stamp: Callable[[QueuedMessage], bytes] | None,
        backlog_rate: float = BACKLOG_RATE,
    ) -> None:
        self.greeted = False  # the status is with the broker, so the backlog may follow
        self.held = False  # nothing more leaves the outbox on this connection
        self._connection = connection
        self._outbox = outbox
        self._topics = topics
        self._stamp = stamp
        self._status_mid = 0
        self._sent: dict[int, QueuedMessage] = {}
        # The newest message sent; what was refused stays behind it until the next connection.
        self._cursor = 0
        self._began = self._progress = time.monotonic()
        self._pause = 1.0 / backlog_rate  # seconds between two messages of the backlog
        self._next = -math.inf  # when the next one of them may go
        self._held_back = False  # only the pace keeps the next message here
        self._refusals: set[tuple[str, str]] = set()

    @property
    def busy(self) -> bool:
        """Whether an acknowledgement is due."""
        return bool(self._sent) or not self.greeted

    @property
    def idle(self) -> bool:
        """Whether everything was sent and acknowledged."""
        return not self.busy and not self._outbox.pending(1, after=self._cursor)

    def stalled(self, timeout: float) -> bool:
        """Whether an acknowledgement has been due for `timeout` seconds without any coming."""
        return self.busy and time.monotonic() - self._progress > timeout

    def wait(self) -> float | None:
        """Seconds until `fill` may send more; None if that is not a question of time."""
        return max(0.0, self._next - time.monotonic()) if self._held_back else None

    def hurry(self) -> None:
        """Sends all that it can, without a pause: there is little time left."""
        self.held = False
        self._pause, self._next = 0.0, -math.inf

    def hold(self) -> None:
        """Leaves the rest to the next connection."""
        self.held = True

    def say(self, status: OutgoingMessage) -> None:
        """Sends a status, and nothing else until it is acknowledged."""
        self.greeted = False
        self._progress = time.monotonic()
        self._status_mid = self._connection.publish(status)

    def fill(self) -> None:
        """Sends the oldest messages that were not sent on this connection, as many as may be in flight."""
        self._held_back = False
        while (
            self.greeted and not self.held and (room := self._connection.max_in_flight - len(self._sent)) > 0
        ):
            batch = self._outbox.pending(room, after=self._cursor)
            if not batch:
                return
            connected_s = time.monotonic() - self._began  # as old as the batch's own ages
            for message in batch:
                backlog = message.waited_s is None or message.waited_s > connected_s
                if backlog and time.monotonic() < self._next:
                    self._held_back = True
                    return
                self._send(replace(message, backlog=backlog))
                if backlog:
                    self._next = time.monotonic() + self._pause

    def book(self, acknowledged: list[Acknowledged]) -> None:
        """Forgets what the broker has taken; what it refused stays in the outbox for the next connection."""
        if acknowledged:
            self._progress = time.monotonic()
        done: list[int] = []
        for each in acknowledged:
            if each.mid == self._status_mid:
                self.greeted = True
                if each.problem:
                    self._refused(self._topics.status, each.problem, "nobody sees that this device is online")
                continue
            message = self._sent.pop(each.mid, None)
            if message is not None and (each.problem is None or self._given_up(message, each.problem)):
                done.append(message.id)
        self._outbox.done(*done)

    def _send(self, message: QueuedMessage) -> None:
        self._cursor = message.id
        if not self._sent:
            self._progress = time.monotonic()
        payload = message.payload
        if self._stamp is not None:
            try:
                payload = self._stamp(message)
            except Exception:  # one message that cannot be stamped must not hold up all that follow
                log.exception("%s: cannot be stamped, sent as it was put", message.topic)
        try:
            mid = self._connection.publish(
                OutgoingMessage(message.topic, payload, message.qos, message.retain, message.correlation)
            )
        except ValueError as error:  # a topic or size that MQTT cannot carry
            if self._given_up(message, str(error)):
                self._outbox.done(message.id)
        else:
            self._sent[mid] = message

    def _given_up(self, message: QueuedMessage, problem: str) -> bool:
        """Whether a refused message is to be forgotten; else it stays for the next connection.

        An answer is, which goes where its asker wanted it: to keep it would not help, and asking is cheap.
        """
        elsewhere = not message.topic.startswith(f"{self._topics.root}/")
        if elsewhere and message.kind != "alert" and not message.retain:
            self._refused(message.topic, problem, "an answer, dropped")
            return True
        self._refused(message.topic, problem, "kept in the outbox, tried again with the next connection")
        return False

    def _refused(self, topic: str, problem: str, consequence: str) -> None:
        if (problem, consequence) not in self._refusals:  # one line for each reason, not for each message
            self._refusals.add((problem, consequence))
            mend = " (does the broker let this login write there?)" if problem == "Not authorized" else ""
            log.warning("%s: refused: %s; %s%s", topic, problem, consequence, mend)
