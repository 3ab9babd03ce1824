"""How the control room's terminal looks: the table, and lines of text, from what is known of the fleet."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge.fleet import DeviceState, FleetState
from firmware_cfg.messages import Alert, Event, Status

_STATE_STYLE = {"online": "green", "stopped": "yellow", "offline": "bold red"}
_SEVERITY_STYLE = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
_SEVERITY_RANK = {"critical": 0, "warning": 1, "info": 2}


def render(state: FleetState, *, now: datetime, problem: str = "") -> RenderableType:
    """The whole picture. `problem` is why there is no connection, if there is none: all may be otherwise."""
    parts: list[RenderableType] = []
    if problem:
        parts.append(Text(plain(problem, 400), style="bold red"))
    parts.append(_devices(state, now))
    parts.append(_alerts(state, now, connected=not problem))
    if state.recent:
        parts.append(Text("Latest events", style="bold"))
        parts.extend(event_line(event) for event in list(state.recent)[-8:])
    if state.rejected:
        line = f"{state.rejected} messages ignored, the latest: {plain(state.problem, 160)}"
        parts.append(Text(line, style="dim"))
    return Group(*parts)


def plain(text: str, limit: int = 80) -> str:
    """Foreign text without control characters (escape sequences, bidirectional tricks), cut at `limit`."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def status_line(status: Status, now: datetime) -> str:
    # A last will was written when the connection was made.
    moment = now if status.state == "offline" else status.sent_at
    return f"{moment:%H:%M:%S} {status.device} is {status.state} {plain(status.reason)}"


def _devices(state: FleetState, now: datetime) -> Table:
    table = Table(title="Devices", title_justify="left", expand=True)
    for column in ("Device", "State", "Seen", "Frames/s", "Prompt", "Now", "Unique", "Score"):
        table.add_column(
            column, justify="right" if column in ("Now", "Unique", "Score", "Frames/s") else "left"
        )
    for name in sorted(state.devices):
        device = state.devices[name]
        head = [Text(name), _state(device), Text(_ago(device.last_heard, now)), Text(_fps(device))]
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


def _alerts(state: FleetState, now: datetime, *, connected: bool) -> RenderableType:
    active = [(alert, device) for device in state.devices.values() for alert in device.alerts.values()]
    if not active:
        if not connected:
            return Text("Active alerts: unknown, not connected", style="yellow")
        return Text("No active alerts", style="green")
    title = f"Active alerts: {len(active)}{'' if connected else ' when last connected'}"
    table = Table(title=title, title_justify="left", expand=True)
    for column in ("Severity", "Device", "Prompt", "Value", "Score", "Certainty", "For", "Where", "Why"):
        table.add_column(column)
    for alert, device in sorted(
        active, key=lambda each: (_SEVERITY_RANK[each[0].severity], each[0].raised_at)
    ):
        table.add_row(*_alert_row(alert, device, now))
    return table


def _alert_row(alert: Alert, device: DeviceState, now: datetime) -> list[Text]:
    # Nobody knows whether the alert of a lost drone is still true: it counts up to the last sign of life.
    age = f"{_ago(alert.raised_at, device.last_heard or now)}, stale" if device.away else ""
    return [
        Text(alert.severity, style=_SEVERITY_STYLE[alert.severity]),
        Text(alert.device),
        Text(alert.prompt),
        Text(f"{_number(alert)} {alert.count_kind.replace('_', ' ')}"),
        Text(f"{alert.score:.2f}"),
        Text(alert.certainty),
        Text(age or _ago(alert.raised_at, now), style="dim" if age else ""),
        Text(_where(alert)),
        Text(plain(alert.reason)),
    ]


def event_line(event: Event) -> Text:
    late = " (late)" if event.historical else ""
    line = f"{event.observed_at:%H:%M:%S} {event.device} {event.msg_type} {event.severity} {event.prompt}"
    why = plain(event.reason) or event.count_kind
    where = f" at {place}" if (place := _where(event)) else ""
    text = f"{line} {_number(event)} ({why}){where}{late}"
    return Text(text, style="dim" if event.msg_type == "clear" else _SEVERITY_STYLE[event.severity])


def _where(told: Alert | Event) -> str:
    """Latitude and longitude, and how far the true place may be off; empty where nobody knows."""
    if told.position is None:
        return ""
    longitude, latitude = told.position.coordinates
    accuracy = "" if told.h_acc_m is None else f" (±{told.h_acc_m:.0f} m)"
    return f"{latitude:.5f}, {longitude:.5f}{accuracy}"


def _number(told: Alert | Event) -> str:
    return f"{told.count:.2g}" if told.count_kind == "score" else f"{told.count:g}"


def _state(device: DeviceState) -> Text:
    if device.status is None:
        return Text("unknown", style="dim")
    blind = "" if device.health is None or device.away else device.health.camera_problem
    reason = f" ({plain(why, 60)})" if (why := blind or device.status.reason) else ""
    return Text(device.status.state + reason, style="yellow" if blind else _STATE_STYLE[device.status.state])


def _fps(device: DeviceState) -> str:
    return "" if device.health is None or device.away else f"{device.health.fps:.1f}"


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    seconds = max(0, int((now - moment).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3600
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d"
