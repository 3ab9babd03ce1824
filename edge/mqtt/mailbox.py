"""Where a link's thread waits: for what its connection tells, and for what was put into the outbox."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from edge.mqtt.connection import Connection
from edge.mqtt.messages import ConnectionEvent


class Mailbox:
    """`post` and `wake` may be called in any thread, the others in the link's own."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[tuple[Connection, ConnectionEvent] | None] = queue.SimpleQueue()
        self._woken = threading.Event()

    def post(self, connection: Connection, event: ConnectionEvent) -> None:
        """Hands over what a connection tells."""
        self._events.put((connection, event))

    def wake(self) -> None:
        """Ends the wait; one wake-up is enough, however often it is called."""
        if not self._woken.is_set():
            self._woken.set()
            self._events.put(None)

    def rearm(self) -> None:
        """To be called before looking what there is to do: each `wake` from here on ends the next wait."""
        self._woken.clear()

    def take(self, connection: Connection, wait: float | None) -> Iterator[ConnectionEvent]:
        """Waits for an event, then yields all that are there. Those of earlier connections are dropped."""
        try:
            item = self._events.get(timeout=wait)
            while True:
                if item is not None and item[0] is connection:
                    yield item[1]
                item = self._events.get_nowait()
        except queue.Empty:
            return
