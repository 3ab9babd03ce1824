"""The control room's terminal: devices, counts and active alerts as they come in."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.fleet import DeviceState, FleetState, Received
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.messages import Alert, Event, Status
from firmware_cfg.topics import ALL_DEVICES

__all__ = ["FleetState", "render", "watch"]

_REFRESH = 0.25  # seconds between two looks of the table
_STATE_STYLE = {"online": "green", "stopped": "yellow", "offline": "bold red"}
_SEVERITY_STYLE = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
_SEVERITY_RANK = {"critical": 0, "warning": 1, "info": 2}

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
    """
    console = console or Console()
    state = FleetState()
    incoming: queue.SimpleQueue[Raw] = queue.SimpleQueue()
    stop = stop or threading.Event()
    deadline = None if seconds is None else time.monotonic() + seconds
    with Subscriber(
        broker,
        (ALL_DEVICES,),
        lambda *message: incoming.put(message),
        on_connect=lambda: incoming.put(None),
    ) as subscriber:
        try:
            if console.is_terminal and not json_lines:
                _table(console, subscriber, state, incoming, stop, deadline)
            else:
                _lines(console, state, incoming, stop, deadline, json_lines=json_lines)
        except KeyboardInterrupt:
            pass  # the way to leave
    return state


def render(state: FleetState, *, now: datetime, problem: str = "") -> RenderableType:
    """The whole picture. `problem` is why there is no connection, if there is none."""
    parts: list[RenderableType] = []
    if problem:
        parts.append(Text(plain(problem, 400), style="bold red"))
    parts.append(_devices(state, now))
    parts.append(_alerts(state, now))
    if state.recent:
        parts.append(Text("Latest events", style="bold"))
        parts.extend(_event(event) for event in list(state.recent)[-8:])
    if state.rejected:
        line = f"{state.rejected} messages ignored, the latest: {plain(state.problem, 160)}"
        parts.append(Text(line, style="dim"))
    return Group(*parts)


def plain(text: str, limit: int = 80) -> str:
    """Foreign text without control characters (escape sequences, bidirectional tricks), cut at `limit`."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


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
            problem = f"{subscriber.problem}; trying again" if subscriber.state == "offline" else ""
            live.update(render(state, now=datetime.now(timezone.utc), problem=problem), refresh=True)


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
                _write(console, _event(received.message).plain)
            elif isinstance(received.message, Status):
                status = received.message
                _write(
                    console,
                    f"{status.sent_at:%H:%M:%S} {status.device} is {status.state} {plain(status.reason)}",
                )


def _write(console: Console, line: str) -> None:
    # Not console.print: a line for another program must be neither wrapped nor read as markup.
    console.file.write(line.rstrip() + "\n")
    console.file.flush()


def _as_json(received: Received) -> str:
    topic, message = received.topic, received.message
    body = None if message is None else json.loads(message.to_payload())
    line = {"device": topic.device, "channel": topic.channel, "item": topic.item}
    return json.dumps({**line, "retained": received.retained, "message": body})


def _devices(state: FleetState, now: datetime) -> Table:
    table = Table(title="Devices", title_justify="left", expand=True)
    for column in ("Device", "State", "Seen", "Frames/s", "Prompt", "Now", "Unique", "Score"):
        table.add_column(
            column, justify="right" if column in ("Now", "Unique", "Score", "Frames/s") else "left"
        )
    for name in sorted(state.devices):
        device = state.devices[name]
        head = [Text(name), _state(device), Text(_ago(device.last_seen, now)), Text(_fps(device))]
        if not device.counts:
            table.add_row(*head)
        for prompt in sorted(device.counts):
            counts = device.counts[prompt]
            scene = counts.kind == "scene"
            numbers = ("", "") if scene else (str(counts.count), str(counts.unique))
            table.add_row(*head, Text(prompt), *numbers, f"{counts.score:.2f}")
            head = [Text("")] * 4
    if not state.devices:
        table.add_row(Text("waiting for a device", style="dim"))
    return table


def _alerts(state: FleetState, now: datetime) -> RenderableType:
    active = [alert for device in state.devices.values() for alert in device.alerts.values()]
    if not active:
        return Text("No active alerts", style="green")
    table = Table(title=f"Active alerts: {len(active)}", title_justify="left", expand=True)
    for column in ("Severity", "Device", "Prompt", "Value", "Score", "Certainty", "For", "Why"):
        table.add_column(column)
    for alert in sorted(active, key=lambda each: (_SEVERITY_RANK[each.severity], each.raised_at)):
        table.add_row(*_alert_row(alert, now))
    return table


def _alert_row(alert: Alert, now: datetime) -> list[Text]:
    return [
        Text(alert.severity, style=_SEVERITY_STYLE[alert.severity]),
        Text(alert.device),
        Text(alert.prompt),
        Text(f"{alert.count:g} {alert.count_kind}"),
        Text(f"{alert.score:.2f}"),
        Text(alert.certainty),
        Text(_ago(alert.raised_at, now)),
        Text(plain(alert.reason)),
    ]


def _event(event: Event) -> Text:
    late = " (late)" if event.historical else ""
    line = f"{event.observed_at:%H:%M:%S} {event.device} {event.msg_type} {event.severity} {event.prompt}"
    text = f"{line} {event.count:g} {event.count_kind} {plain(event.reason)}{late}"
    return Text(text, style="dim" if event.msg_type == "clear" else _SEVERITY_STYLE[event.severity])


def _state(device: DeviceState) -> Text:
    if device.status is None:
        return Text("unknown", style="dim")
    reason = f" ({plain(device.status.reason, 40)})" if device.status.reason else ""
    return Text(device.status.state + reason, style=_STATE_STYLE[device.status.state])


def _fps(device: DeviceState) -> str:
    return "" if device.health is None else f"{device.health.fps:.1f}"


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    seconds = max(0, int((now - moment).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3600
    return (
        f"{minutes} min"
        if hours < 1
        else f"{hours} h {minutes % 60} min"
        if hours < 48
        else f"{hours // 24} d"
    )
