"""What one connection takes out of the outbox: the order, the pace, and what is in flight."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import replace

from edge.mqtt.connection import Connection
from edge.mqtt.drain_plan import DrainPlan
from edge.mqtt.messages import Acknowledged, OutgoingMessage
from edge.mqtt.refused import Refused
from edge.outbox.outbox import QueuedMessage

log = logging.getLogger(__name__)

THINNEST = 500.0  # bytes a second of the thinnest link that is still waited for
# Bytes in flight beyond which no more pictures follow: an alert would wait behind them.
_BULK_IN_FLIGHT = 64 * 1024
_LOOKS = 1000  # messages passed over before the link looks after its connection again


class Drain:
    """`say` the status, then `fill` and `book` as acknowledgements come. Runs in the link's thread.

    Messages go out oldest first, but pictures and answers (telemetry that is not retained) behind all others.
    What was queued before this connection was made is its backlog, and goes with at most `backlog_rate`
    messages a second; what is newer waits behind it, then goes at once.
    """

    def __init__(self, connection: Connection, plan: DrainPlan) -> None:
        self.greeted = False  # the status is with the broker, so the backlog may follow
        self.held = False  # nothing more leaves the outbox on this connection
        self._connection = connection
        self._plan = plan
        self._outbox = plan.outbox
        # One place is kept for the status "stopped", which may not wait for an acknowledgement.
        self._window = max(1, connection.max_in_flight - 1)
        self._status: OutgoingMessage | None = None
        self._status_mid = 0
        self._status_refused = False
        self._sent: dict[int, QueuedMessage] = {}
        self._bytes = 0  # of the payloads in flight
        self._cursor = 0  # the newest message that was looked at
        self._bulk: deque[int] = deque()  # up to there, what goes behind all others
        self._refused = Refused(plan.retry_time)
        self._postponed: set[int] = set()
        self._began = self._progress = self._looked = time.monotonic()
        self._pause = 1.0 / plan.backlog_rate  # seconds between two messages of the backlog
        self._next = -math.inf  # when the next one of them may go
        self._held_back = False  # only the pace keeps the next message here
        self._more = False  # `fill` left off with messages to look at

    @property
    def busy(self) -> bool:
        """Whether an acknowledgement is due."""
        return bool(self._sent) or not self.greeted

    @property
    def full(self) -> bool:
        """Whether the broker would not bear one more message now."""
        return len(self._sent) >= self._connection.max_in_flight

    @property
    def idle(self) -> bool:
        """Whether everything was sent and acknowledged, but what was refused."""
        return not self.busy and not self._bulk and not self._outbox.pending(1, after=self._cursor)

    @property
    def oldest(self) -> QueuedMessage | None:
        """The message that has waited longest for its acknowledgement."""
        return next(iter(self._sent.values()), None)

    def stalled(self, timeout: float) -> bool:
        """Whether no acknowledgement has come for `timeout` seconds and the time that the bytes may take."""
        return self.busy and time.monotonic() - self._progress > timeout + self._bytes / THINNEST

    def ended(self) -> None:
        """To be called when the connection has ended, and not by us."""
        self._plan.suspects.ended([message.id for message in self._sent.values()])

    def wait(self) -> float | None:
        """Seconds until `fill` may send more; None if that is not a question of time."""
        if self.held or self._more:
            return None if self.held else 0.0
        waits = [self._refused.wait()]
        if self._held_back:
            waits.append(max(0.0, self._next - time.monotonic()))
        return min((each for each in waits if each is not None), default=None)

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
        self._status, self._status_refused = status, False
        self._status_mid = self._connection.publish(status)

    def fill(self) -> None:
        """Sends what was not sent on this connection, as much as may be in flight."""
        self._held_back = self._more = False
        if self.held:
            return
        if self._refused.due() and self._status_refused and self._status is not None:
            self.say(self._status)
        back = self._refused.back_to()
        if back is not None:  # what is older has been looked at, all that follows is looked at again
            self._cursor = min(self._cursor, back - 1)
            self._bulk = deque(each for each in self._bulk if each <= self._cursor)
        if self.greeted and self._fill_first():
            self._fill_bulk()

    def book(self, acknowledged: list[Acknowledged]) -> None:
        """Forgets what the broker has taken; what it refused stays in the outbox, to be tried again."""
        if acknowledged:
            self._progress = time.monotonic()
        done: list[int] = []
        for each in acknowledged:
            if each.mid == self._status_mid:
                self.greeted = True
                if each.problem:
                    self._status_refused = True
                    self._refused.remind()
                    self._refused.tell(
                        self._plan.topics.status, each.problem, "nobody sees that this device is online"
                    )
                continue
            message = self._sent.pop(each.mid, None)
            if message is None:
                continue
            self._bytes -= len(message.payload)
            self._plan.suspects.taken(message.id)
            took = (
                self._refused.taken(message)
                if each.problem is None
                else self._given_up(message, each.problem)
            )
            if took:
                done.append(message.id)
        self._outbox.done(*done)

    def _fill_first(self) -> bool:
        """Sends all but the bulk. True when there is no more of it."""
        looks = 0
        while (room := self._window - len(self._sent)) > 0:
            batch = self._look(room, self._cursor)
            if not batch:
                return True
            looks += len(batch)
            if looks > _LOOKS:
                self._more = True
                return False
            for message in batch:
                if message.kind == "telemetry" and not message.retain:
                    self._bulk.append(message.id)
                elif not self._offer(message):
                    return False
                self._cursor = message.id
        return False

    def _fill_bulk(self) -> None:
        while self._bulk and len(self._sent) < self._window:
            found = self._look(1, self._bulk[0] - 1)
            if found and found[0].id == self._bulk[0]:  # else it was shed in the meantime
                much = self._bytes > 0 and self._bytes + len(found[0].payload) > _BULK_IN_FLIGHT
                if much or not self._offer(found[0]):
                    return
            self._bulk.popleft()

    def _look(self, most: int, after: int) -> list[QueuedMessage]:
        found = self._outbox.pending(most, after=after)
        self._looked = time.monotonic()
        return found

    def _offer(self, message: QueuedMessage) -> bool:
        """Sends a message, or passes over one that may not go. False: all must wait until this one may."""
        in_flight = [each.id for each in self._sent.values()]
        if not self._refused.may_go(message) or message.id in in_flight or self._postpone(message):
            return True
        alone = self._plan.suspects.goes_alone
        if in_flight and (alone(message.id) or alone(in_flight[0])):
            return False
        backlog = message.waited_s is None or message.waited_s > self._looked - self._began
        if backlog and time.monotonic() < self._next:
            self._held_back = True
            return False
        self._send(replace(message, backlog=backlog))
        if backlog:
            self._next = time.monotonic() + self._pause
        return True

    def _postpone(self, message: QueuedMessage) -> bool:
        """Whether a message that connections ended with goes later, or (telemetry) not at all."""
        if not self._plan.suspects.convicted(message.id) or message.id in self._postponed:
            return False
        problem = f"connections end with this message of {len(message.payload)} bytes"
        if message.kind == "telemetry" and not message.retain:
            self._plan.suspects.taken(message.id)
            log.warning("%s: %s; dropped", message.topic, problem)
            self._outbox.done(message.id)
            return True
        self._postponed.add(message.id)
        self._refused.add(message)
        self._refused.tell(message.topic, problem, "kept in the outbox, tried again behind the others")
        return True

    def _send(self, message: QueuedMessage) -> None:
        if not self._sent:
            self._progress = time.monotonic()
        payload = message.payload
        if self._plan.stamp is not None:
            try:
                payload = self._plan.stamp(message)
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
            self._bytes += len(message.payload)

    def _given_up(self, message: QueuedMessage, problem: str) -> bool:
        """Whether a refused message is to be forgotten; else it is tried again after a while.

        An answer is, which goes where its asker wanted it: to keep it would not help, and asking is cheap.
        """
        elsewhere = not message.topic.startswith(f"{self._plan.topics.root}/")
        if elsewhere and message.kind != "alert" and not message.retain:
            self._refused.tell(message.topic, problem, "an answer, dropped")
            return True
        self._refused.add(message)
        self._refused.tell(message.topic, problem, "kept in the outbox, tried again now and then")
        return False
