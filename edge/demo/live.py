"""The control room while the demo flies: its table on this terminal, its page in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import typer

from edge.demo.page import page_beside
from edge.mqtt.settings import BrokerSettings
from edge.watch import watch


@contextmanager
def control_room(broker: BrokerSettings) -> Iterator[None]:
    """Inside, `remoteclip console` serves its page, and `remoteclip watch` runs on this terminal."""
    with page_beside(broker) as where:
        typer.echo(where)
        with live_table(broker):
            yield


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
