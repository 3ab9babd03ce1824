"""Receives messages from a broker, and asks, through every loss of connection: for programs on the ground."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError

from edge.backoff import Backoff
from edge.mqtt.connection import Connection, ConnectionPlan
from edge.mqtt.dialer import Dialer
from edge.mqtt.messages import Acknowledged, Closed, ConnectionEvent, OutgoingMessage
from edge.mqtt.reconnect import KeptConnection, LinkState
from edge.mqtt.settings import BrokerSettings
from firmware_cfg.errors import BrokerError


class Subscriber(KeptConnection):
    """Calls `on_message(topic, payload, retained)`, in its own thread, for every message under `filters`.

    With a fixed `client_id` the broker keeps what was missed (QoS 1) while this subscriber was away; without
    one it starts afresh. Messages may come twice: tell them apart by their event_id. `on_connect` is called,
    in the same thread, before each subscription: what the broker retains comes after it. `on_lost` is told
    why there is no connection (any more).
    """

    def __init__(
        self,
        broker: BrokerSettings,
        filters: Sequence[str],
        on_message: Callable[[str, bytes, bool], None],
        *,
        client_id: str | None = None,
        on_connect: Callable[[], None] | None = None,
        on_lost: Callable[[str], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__("mqtt-subscriber", backoff=backoff)
        self._filters = tuple(filters)
        self._on_connect = on_connect
        self._on_lost = on_lost
        self._speaks = threading.Lock()
        self._speaking: Connection | None = None
        self._unheard: dict[int, Future[None]] = {}  # by mid, of the connection that speaks
        self._events: queue.SimpleQueue[tuple[Connection, ConnectionEvent] | None] = queue.SimpleQueue()
        plan = ConnectionPlan(
            client_id=client_id or f"remoteclip-subscriber-{uuid.uuid4().hex[:12]}",
            post=lambda connection, event: self._events.put((connection, event)),
            on_message=lambda message: on_message(message.topic, message.payload, message.retained),
            persistent=client_id is not None,
        )
        self._dialer = Dialer(broker, plan)

    def __enter__(self) -> Subscriber:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self, timeout: float = 5.0) -> None:
        """Disconnects; a session kept by the broker stays there."""
        self._stopping.set()
        self._events.put(None)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def publish(self, message: OutgoingMessage) -> Future[None]:
        """Send a message; done when the broker has it. From any thread; nothing is kept for a later try.

        The future ends with BrokerError where there is no connection, it is lost, or the broker refuses.
        """
        sent: Future[None] = Future()
        with self._speaks:
            if self._speaking is None:
                sent.set_exception(
                    BrokerError(self.problem or f"{self._dialer.settings.address}: not connected")
                )
                return sent
            try:
                self._unheard[self._speaking.publish(message)] = sent
            except ValueError as error:
                sent.set_exception(BrokerError(f"{message.topic}: not sent: {error}"))
        return sent

    def _dial(self) -> Connection:
        return self._dialer.dial()

    def _change(self, state: LinkState, problem: str) -> None:
        super()._change(state, problem)
        if state == "offline" and self._on_lost is not None:
            self._on_lost(problem)

    def _serve(self, connection: Connection) -> str:
        try:
            return self._listen(connection)
        finally:
            with self._speaks:
                self._speaking = None
                lost, self._unheard = self._unheard, {}
            for sent in lost.values():
                _end(sent, "the connection was lost before the broker had it")

    def _heard(self, told: Acknowledged) -> None:
        with self._speaks:  # whoever publishes has noted its mid by then
            sent = self._unheard.pop(told.mid, None)
        if sent is not None:
            _end(sent, told.problem and f"the broker refused it: {told.problem}")

    def _listen(self, connection: Connection) -> str:
        address = self._dialer.settings.address
        if self._on_connect is not None:
            self._on_connect()
        due = connection.subscribe(self._filters)
        while not self._stopping.is_set():
            try:
                item = self._events.get(timeout=self._news_wait())
            except queue.Empty:
                self._tell_news()
                continue
            if item is None or item[0] is not connection:
                continue
            event = item[1]
            if isinstance(event, Closed):
                return f"{address}: the connection was lost ({event.reason})"
            if event.mid != due:
                self._heard(event)
                continue
            if event.problem:
                connection.close()
                return f"{address}: the broker refused the subscription: {event.problem}"
            with self._speaks:
                self._speaking = connection
            self._came_online(f"{address}: subscribed with MQTT {connection.version}")
        connection.close()
        return ""


def _end(sent: Future[None], problem: str | None) -> None:
    try:
        if problem:
            sent.set_exception(BrokerError(problem))
        else:
            sent.set_result(None)
    except InvalidStateError:
        pass  # whoever waited for it has given up
