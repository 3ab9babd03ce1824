"""The devices: all of them, and one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache

from console.devices import DeviceLine
from console.web.look import MOST_ROWS, Look
from console.web.render import parts
from console.web.screen import Region

QUIET = timedelta(seconds=60)
"""A device that says it is online and has said nothing for so long is shown as silent."""
_TROUBLE = {"alarm": 0, "offline": 1, "blind": 2, "silent": 3, "stopped": 4, "unknown": 5, "online": 6}


def state_of(device: DeviceLine, look: Look) -> str:
    """online, stopped, offline, unknown as it says; blind without a picture, silent without a word."""
    if device.state != "online":
        return device.state
    if device.health is not None and device.health.camera_problem:
        return "blind"
    if device.last_heard is not None and look.now - device.last_heard > QUIET:
        return "silent"
    return "online"


def fleet(look: Look) -> Mapping[str, Region]:
    """Regions `summary`, `grid` (every device as a mark), `devices` (rows) and `pages`."""
    macros = parts("fleet")
    devices = look.services.room.devices
    states = {name: state_of(device, look) for name, device in devices.items()}
    alarming = Counter(alert.device for alert in look.services.room.alerts.values() if alert.active)
    ranked = sorted(devices, key=lambda name: (0 if alarming[name] else _TROUBLE[states[name]], name))
    wanted, state = look.query.get("q", "").strip().lower(), look.query.get("state", "")
    chosen = [
        name
        for name in ranked
        if wanted in name and (not state or state == states[name] or (state == "alarm" and alarming[name]))
    ]
    rows = {name: _row(devices[name], states[name], alarming[name], look) for name in look.window(chosen)}
    if not rows:
        rows["none"] = macros.nobody(bool(devices), look.services.room.connected)
    totals = Counter(states.values())
    return {
        "summary": {
            "all": macros.tile("", "devices", len(devices)),
            "alarm": macros.tile(
                "alarm", "with an active alert", sum(1 for name in alarming if name in devices)
            ),
            **{
                each: macros.tile(each, words, totals[each])
                for each, words in (
                    ("online", "online"),
                    ("offline", "lost"),
                    ("blind", "without a picture"),
                    ("silent", "silent for a minute"),
                    ("stopped", "stopped"),
                )
            },
        },
        "grid": {name: _mark(name, states[name], alarming[name] > 0) for name in sorted(devices)},
        "devices": rows,
        "pages": {"line": macros.pages(len(chosen), look.page, MOST_ROWS, dict(look.query))},
    }


def _row(device: DeviceLine, state: str, alarms: int, look: Look) -> str:
    depends = ("device", device.name, device.version, state, alarms)
    return look.memo(depends, lambda: str(parts("fleet").row(device, state, alarms)))


@lru_cache(maxsize=10_000)
def _mark(name: str, state: str, alarming: bool) -> str:
    return str(parts("fleet").mark(name, state, alarming))


def device(look: Look) -> Mapping[str, Region]:
    """Regions of one device, `device` in the query: `head`, `facts`, `counts`, `raised`."""
    macros = parts("fleet")
    name = look.query.get("device", "")
    known = look.services.room.devices.get(name)
    if known is None:
        return {"head": {"none": macros.stranger(name)}, "facts": {}, "counts": {}, "raised": {}}
    raised = {
        alert_id: macros.raised(alert)
        for (device, alert_id), alert in look.services.room.alerts.items()
        if device == name
    }
    return {
        "head": {"state": macros.head(known, state_of(known, look))},
        "facts": {"all": macros.facts(known)},
        "counts": {prompt: macros.count(counts) for prompt, counts in sorted(known.counts.items())},
        "raised": dict(list(raised.items())[-20:]) or {"none": macros.calm()},
    }
