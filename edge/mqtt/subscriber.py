"""Receives messages from a broker, through every loss of connection: for `watch`, the demo and tests."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable, Sequence

from edge.backoff import Backoff
from edge.mqtt.connection import Connection, ConnectionPlan
from edge.mqtt.dialer import Dialer
from edge.mqtt.messages import Closed, ConnectionEvent
from edge.mqtt.reconnect import KeptConnection
from edge.mqtt.settings import BrokerSettings


class Subscriber(KeptConnection):
    """Calls `on_message(topic, payload, retained)`, in its own thread, for every message under `filters`.

    With a fixed `client_id` the broker keeps what was missed (QoS 1) while this subscriber was away; without
    one it starts afresh. Messages may come twice: tell them apart by their event_id. `on_connect` is called,
    in the same thread, before each subscription: what the broker retains comes after it.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        filters: Sequence[str],
        on_message: Callable[[str, bytes, bool], None],
        *,
        client_id: str | None = None,
        on_connect: Callable[[], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__("mqtt-subscriber", backoff=backoff)
        self._filters = tuple(filters)
        self._on_connect = on_connect
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

    def _dial(self) -> Connection:
        return self._dialer.dial()

    def _serve(self, connection: Connection) -> str:
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
                continue
            if event.problem:
                connection.close()
                return f"{address}: the broker refused the subscription: {event.problem}"
            self._came_online(f"{address}: subscribed with MQTT {connection.version}")
        connection.close()
        return ""
