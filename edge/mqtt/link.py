"""Drains the outbox into the broker, oldest first, and keeps the device's status true."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Literal

from edge.backoff import Backoff
from edge.mqtt.connection import Connection, ConnectionPlan
from edge.mqtt.credentials import CHECK_INTERVAL, Credentials
from edge.mqtt.dialer import Dialer
from edge.mqtt.drain import Drain
from edge.mqtt.drain_plan import BACKLOG_RATE, DrainPlan
from edge.mqtt.mailbox import Mailbox
from edge.mqtt.messages import Acknowledged, Closed, IncomingMessage, OutgoingMessage
from edge.mqtt.reconnect import KeptConnection, unharmed
from edge.mqtt.refusals import lost
from edge.mqtt.refused import RETRY_TIME
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriptions import SWEEP_TIME, SubscribeRight, Subscriptions, is_echo
from edge.outbox.file import OutboxDamagedError
from edge.outbox.outbox import Outbox, QueuedMessage
from firmware_cfg.errors import OutboxError
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

StatusState = Literal["online", "stopped", "offline"]

# Seconds without any acknowledgement before the connection is given up, beside those for the bytes in flight.
ACK_TIMEOUT = 30.0
GOODBYE_TIME = 1.0  # seconds granted to the status "stopped" when the backlog has used up the time to stop


class MqttLink(KeptConnection):
    """Sends what the outbox holds, and forgets a message only at its PUBACK.

    Args:
        status: makes the body of the retained status: "online" is sent first on every connection, before
            anything else, "offline" is the last will, "stopped" the goodbye.
        stamp: may replace a payload at the moment of sending (to set `sent_at`).
        on_request: gets what is asked of this device and, once for each connection, the alerts and counts
            that the broker retained. It is called in the network's thread and must not wait for anything.
        on_connect: called once for each connection, when the status is with the broker. Must not wait.
        on_failure: told, once, that the outbox has gone bad: only a restart can save what is left of it. The
            link goes on trying, and `failure` keeps the error.
        on_sweep: told when those retained ones are about to come (True) and when they have come (False), the
            latter not where the broker refused them. Must not wait either.
        backlog_rate: messages a second of what was queued before the connection was made; it goes out first.
        retry_time: seconds until what the broker refused is tried again.
        credential_check: seconds between two looks at the files of the login. Where they have changed and can
            be used, a new connection takes the place of the old one, without a last will where it is
            certain that the broker takes them.

    The client id follows from the device, so that a drone that returns takes over from its own half-open
    connection, and the will of that one comes before the new "online".
    """

    def __init__(
        self,
        broker: BrokerSettings,
        outbox: Outbox,
        *,
        device: str,
        status: Callable[[StatusState], bytes | str],
        stamp: Callable[[QueuedMessage], bytes] | None = None,
        on_request: Callable[[IncomingMessage], None] | None = None,
        on_sweep: Callable[[bool], None] = lambda begins: None,
        on_connect: Callable[[], None] = lambda: None,
        on_failure: Callable[[Exception], None] = lambda error: None,
        backoff: Backoff | None = None,
        backlog_rate: float = BACKLOG_RATE,
        ack_timeout: float = ACK_TIMEOUT,
        sweep_time: float = SWEEP_TIME,
        credential_check: float = CHECK_INTERVAL,
        retry_time: float = RETRY_TIME,
    ) -> None:
        super().__init__(
            "mqtt-link", backoff=backoff, meanwhile="alerts are kept in the outbox; trying again"
        )
        self._outbox = outbox
        self._status = status
        self._ack_timeout = ack_timeout
        self._topics = Topics(device)
        self._plan = DrainPlan(outbox, self._topics, stamp, backlog_rate, retry_time)
        self._on_request = on_request
        self._on_sweep = on_sweep
        self._on_connect = unharmed(on_connect)
        self._on_failure = on_failure
        self.failure: OutboxDamagedError | None = None
        self._sweep_time = sweep_time
        self._right = SubscribeRight(self._topics)
        self._mailbox = Mailbox()
        self._deadline = 0.0
        plan = ConnectionPlan(
            client_id=f"remoteclip-{device}",
            post=self._mailbox.post,
            will=lambda: self._status_message("offline"),
            on_message=self._hear if on_request is not None else None,
        )
        self._dialer = Dialer(broker, plan)
        self._credentials = Credentials(broker, credential_check, self._dialer.try_login)
        outbox.on_put = self._mailbox.wake

    def __enter__(self) -> MqttLink:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self, timeout: float = 5.0) -> int:
        """Sends what it can within `timeout` seconds, then the status "stopped", and disconnects.

        Returns how many messages are still queued; they go out after the next start. Where an outbox that
        has gone bad cannot say, that is a warning and 0.
        """
        self._deadline = time.monotonic() + timeout
        self._stopping.set()
        self._mailbox.wake()
        if self._thread.is_alive():
            self._thread.join(timeout + 2 * GOODBYE_TIME)
        try:
            left = self._outbox.counts().queued
        except OutboxError as error:
            log.warning("%s; stopped, and nobody knows how many messages are unsent", error)
            return 0
        if left:
            what = (self._outbox.path, left)
            log.warning("%s: stopped with %d messages unsent, kept for the next start", *what)
        return left

    def _dial(self) -> Connection:
        self._credentials.used()
        return self._dialer.dial()

    def _serve(self, connection: Connection) -> str | None:
        try:
            return self._drain(connection)
        except BaseException as error:
            connection.abort()
            if isinstance(error, OutboxDamagedError) and self.failure is None:
                self.failure = error
                self._on_failure(error)
            raise

    def _drain(self, connection: Connection) -> str | None:
        address = self._dialer.settings.address
        drain = Drain(connection, self._plan)
        subscriptions = Subscriptions(
            connection,
            self._topics,
            self._right,
            self._on_sweep,
            sweep_time=self._sweep_time,
            retry_time=self._plan.retry_time,
        )
        drain.say(self._status_message("online"))
        born = False
        while True:
            if self._stopping.is_set():
                drain.hurry()
            if self._stopping.is_set() and (drain.idle or time.monotonic() > self._deadline):
                self._say_goodbye(connection, drain, subscriptions)
                return ""
            if drain.held and not drain.busy:
                # Where it is not certain that the new login works, the last will shall say what may come.
                connection.close() if self._credentials.certain else connection.abort()
                return None
            closed = self._settle(connection, drain, subscriptions)
            if closed is not None:
                if drain.held:  # by the new login, where the broker makes the client id of the user name
                    return None
                self._right.ended(unanswered=subscriptions.unanswered)
                drain.ended()
                return f"{address}: {self._why(closed, drain)}"
            if drain.greeted and not born:
                born = True
                queued = self._outbox.counts().queued
                self._came_online(
                    f"{address}: connected with MQTT {connection.version}, {queued} messages wait"
                )
                self._on_connect()
                if self._on_request is not None and self._right.may_ask():
                    subscriptions.ask()
            self._tell_news()
            subscriptions.tick()
            if not drain.held and not self._stopping.is_set() and self._credentials.renewed():
                log.info("%s: the login has changed on disk; connecting anew with it", address)
                drain.hold()
            if drain.stalled(self._ack_timeout):
                connection.abort()
                drain.ended()
                return f"{address}: the broker acknowledges nothing"

    def _why(self, closed: Closed, drain: Drain) -> str:
        suspect = drain.oldest
        if suspect is not None and self._plan.suspects.suspected(suspect.id):
            size = len(suspect.payload)
            return f"the connection ends with {suspect.topic} of {size} bytes (does the broker take as much?)"
        return lost(closed.reason, flaps=self._short_lived >= 1)

    def _settle(self, connection: Connection, drain: Drain, subscriptions: Subscriptions) -> Closed | None:
        """Sends what fits, waits until something happens, books it. Returns the connection's end, if any."""
        self._mailbox.rearm()  # first: what is put from here on wakes us again
        drain.fill()
        # An idle link sleeps until it is woken. `stop` is looked for after the clear, so it cannot be missed.
        waits = [subscriptions.wait(), drain.wait(), self._news_wait()]
        if not drain.held and not self._stopping.is_set():
            waits.append(self._credentials.wait())
        if drain.busy or self._stopping.is_set():
            waits.append(min(1.0, self._ack_timeout))
        wait = min((each for each in waits if each is not None), default=None)
        acknowledged: list[Acknowledged] = []
        closed: Closed | None = None
        for event in self._mailbox.take(connection, wait):
            if isinstance(event, Closed):
                closed = event
            else:
                acknowledged.append(event)
        drain.book(acknowledged)
        subscriptions.book(acknowledged)
        return closed

    def _hear(self, message: IncomingMessage) -> None:
        if self._on_request is not None and not is_echo(message):
            self._on_request(message)

    def _say_goodbye(self, connection: Connection, drain: Drain, subscriptions: Subscriptions) -> None:
        deadline = max(self._deadline, time.monotonic() + GOODBYE_TIME)
        drain.hold()
        while drain.full and time.monotonic() < deadline:
            if self._settle(connection, drain, subscriptions) is not None:
                return
        if drain.full:  # one more would break the broker's rule; the last will says that we are gone
            connection.abort()
            return
        drain.say(self._status_message("stopped"))
        while not drain.greeted and time.monotonic() < deadline:
            if self._settle(connection, drain, subscriptions) is not None:
                return
        connection.close()

    def _status_message(self, state: StatusState) -> OutgoingMessage:
        body = self._status(state)
        return OutgoingMessage(
            self._topics.status, body.encode() if isinstance(body, str) else body, retain=True
        )
