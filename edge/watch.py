"""The control room's terminal: devices, counts and active alerts as they come in."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone

from rich.console import Console
from rich.live import Live

from edge.fleet import FleetState, Received
from edge.fleet_view import event_line, render, status_line
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.errors import BrokerError
from firmware_cfg.messages import Event, Status
from firmware_cfg.topics import ALL_DEVICES

_REFRESH = 0.25  # seconds between two looks of the table

Raw = tuple[str, bytes, bool] | None  # None: connected (again), all that the broker retains follows


def watch(
    broker: BrokerSettings,
    *,
    console: Console | None = None,
    json_lines: bool = False,
    seconds: float | None = None,
    stop: threading.Event | None = None,
) -> FleetState:
    """Watches until `stop` is set, `seconds` have passed, or Ctrl-C. An unreachable broker is tried again.

    On a terminal a live table; elsewhere one line for each status and event; with `json_lines` one JSON
    object for each message. Returns what is known at the end.

    Raises:
        BrokerError: there was no connection at all, and it was not `stop` that ended it.
    """
    console = console or Console()
    state = FleetState()
    incoming: queue.SimpleQueue[Raw] = queue.SimpleQueue()
    met = threading.Event()

    def connected() -> None:
        met.set()
        incoming.put(None)

    stop = stop or threading.Event()
    deadline = None if seconds is None else time.monotonic() + seconds
    with Subscriber(
        broker,
        (ALL_DEVICES,),
        lambda *message: incoming.put(message),
        on_connect=connected,
    ) as subscriber:
        try:
            if console.is_terminal and not json_lines:
                _table(console, subscriber, state, incoming, stop, deadline)
            else:
                _lines(console, state, incoming, stop, deadline, json_lines=json_lines)
        except KeyboardInterrupt:
            pass  # the way to leave
        if not met.is_set() and not stop.is_set():
            raise BrokerError(f"never connected: {subscriber.problem or f'{broker.address}: no answer yet'}")
    return state


def _take(state: FleetState, incoming: queue.SimpleQueue[Raw], wait: float) -> Iterator[Received]:
    """Waits at most `wait` seconds, applies all that has come, and yields what changed something."""
    try:
        message = incoming.get(timeout=max(wait, 0.001))
        while True:
            if message is None:
                state.start_over()
            elif (received := state.apply(*message, at=datetime.now(timezone.utc))) is not None:
                yield received
            message = incoming.get_nowait()
    except queue.Empty:
        return


def _over(stop: threading.Event, deadline: float | None) -> bool:
    return stop.is_set() or (deadline is not None and time.monotonic() >= deadline)


def _table(
    console: Console,
    subscriber: Subscriber,
    state: FleetState,
    incoming: queue.SimpleQueue[Raw],
    stop: threading.Event,
    deadline: float | None,
) -> None:
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while not _over(stop, deadline):
            for _ in _take(state, incoming, _REFRESH):
                pass
            problem = {"offline": f"{subscriber.problem}; trying again", "connecting": "connecting"}
            live.update(
                render(state, now=datetime.now(timezone.utc), problem=problem.get(subscriber.state, "")),
                refresh=True,
            )


def _lines(
    console: Console,
    state: FleetState,
    incoming: queue.SimpleQueue[Raw],
    stop: threading.Event,
    deadline: float | None,
    *,
    json_lines: bool,
) -> None:
    while not _over(stop, deadline):
        for received in _take(state, incoming, _REFRESH):
            if json_lines:
                _write(console, _as_json(received))
            elif isinstance(received.message, Event):
                _write(console, event_line(received.message).plain)
            elif isinstance(received.message, Status):
                _write(console, status_line(received.message, datetime.now(timezone.utc)))


def _write(console: Console, line: str) -> None:
    # Not console.print: a line for another program must be neither wrapped nor read as markup.
    console.file.write(line.rstrip() + "\n")
    console.file.flush()


def _as_json(received: Received) -> str:
    topic, message = received.topic, received.message
    body = None if message is None else json.loads(message.to_payload())
    line = {"device": topic.device, "channel": topic.channel, "item": topic.item}
    return json.dumps({**line, "retained": received.retained, "message": body})
