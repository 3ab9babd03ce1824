"""The control room's table, live, while the demo flies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from edge.mqtt.settings import BrokerSettings
from edge.watch import watch


@contextmanager
def live_table(broker: BrokerSettings) -> Iterator[None]:
    """Inside, `remoteclip watch` runs on this terminal."""
    stop = Event()
    thread = Thread(target=watch, args=(broker,), kwargs={"stop": stop}, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
