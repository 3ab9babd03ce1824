"""Alerts: those that are active before those that ended, and one of them with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from console.alerts import FoldedAlert
from console.web.look import Look
from console.web.render import parts
from console.web.screen import Region

_SEVERITIES = {"critical": 0, "warning": 1, "info": 2}
_ENDED = 50  # shown of those that are over
_ACTIVE = 300  # rows; a storm larger than this is read by its count


def alerts(look: Look) -> Mapping[str, Region]:
    """Regions `active` and `ended` (rows), and `total`."""
    macros = parts("alerts")
    wanted = look.query.get("q", "").strip().lower()
    known = {
        f"{device}/{alert_id}": alert
        for (device, alert_id), alert in look.services.room.alerts.items()
        if wanted in f"{alert.device} {alert.prompt} {alert.severity} {alert.certainty}".lower()
    }
    active = sorted((key for key in known if known[key].active), key=lambda key: _urgency(known[key], look))
    ended = sorted(
        (key for key in known if not known[key].active), key=lambda key: _end(known[key]), reverse=True
    )
    room = look.services.room
    rows = {key: _row(key, known[key], look) for key in active[:_ACTIVE]}
    if not rows:
        rows["none"] = macros.calm(room.connected, bool(room.devices), wanted)
    return {
        "active": rows,
        "ended": {key: _over(key, known[key], look) for key in ended[:_ENDED]}
        or {"none": macros.nothing_ended()},
        "total": {"line": macros.total(len(active), _ACTIVE, len(ended))},
    }


def alert(look: Look) -> Mapping[str, Region]:
    """Regions of one alert, `device` and `alert` in the query: `head`, `facts`, `steps`, `comments`."""
    macros = parts("alerts")
    known = look.services.room.alerts.get((look.query.get("device", ""), look.query.get("alert", "")))
    if known is None:
        return {"head": {"none": macros.unknown()}, "facts": {}, "steps": {}, "comments": {}}
    return {
        "head": {"line": macros.head(known, _since(known, look), _stale(known, look), look)},
        "facts": {"all": macros.facts(known)},
        "steps": {
            str(number): macros.step(step, known.count_kind) for number, step in enumerate(known.events)
        },
        "comments": {str(number): macros.comment(*said) for number, said in enumerate(known.comments)}
        or {"none": macros.silence()},
    }


def _row(key: str, alert: FoldedAlert, look: Look) -> str:
    since, stale, muted = _since(alert, look), _stale(alert, look), alert.handling.muted(look.now)
    depends = ("alert", key, alert.version, since, stale, muted, look.operator)
    return look.memo(depends, lambda: str(parts("alerts").row(key, alert, since, stale, look)))


def _over(key: str, alert: FoldedAlert, look: Look) -> str:
    depends = ("ended", key, alert.version, alert.handling.muted(look.now))
    return look.memo(depends, lambda: str(parts("alerts").over(key, alert, look.now)))


def _urgency(alert: FoldedAlert, look: Look) -> tuple[object, ...]:
    quiet = alert.acknowledged_by is not None or alert.handling.muted(look.now)
    return quiet, _SEVERITIES[alert.severity], -_since(alert, look).timestamp(), alert.alert_id


def _since(alert: FoldedAlert, look: Look) -> datetime:
    """When it was raised; by our own clock where its drone's is off: ages are read at a glance."""
    device = look.services.room.devices.get(alert.device)
    off = device is not None and device.clock_off_s is not None
    return alert.heard_at if off else alert.raised_at


def _end(alert: FoldedAlert) -> float:
    return (alert.ended_at or alert.updated_at).timestamp()


def _stale(alert: FoldedAlert, look: Look) -> bool:
    """Nobody knows whether the alert of a lost drone is still true."""
    device = look.services.room.devices.get(alert.device)
    return device is not None and device.state in ("offline", "stopped")
