"""Data for static/map.js, which draws it. Longitude and latitude in degrees, WGS 84; radii in metres."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from console.alerts import AlertKey, FoldedAlert
from console.devices import DeviceLine
from console.web.look import Look
from console.web.render import parts
from console.web.screen import Region
from console.web.views.fleet import state_of
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_fields import GroundLine, GroundZone
from firmware_cfg.prompt_list import load_prompt_bytes

_TRACK = 120  # points of a drone's way that are drawn
_ALERTS = 500
_SEVERITIES = ("info", "warning", "critical")


def chart(look: Look) -> Mapping[str, Region]:
    """Regions of data `drones`, `places` (alerts) and `ground` (zones and lines), and the `legend`."""
    room = look.services.room
    active = {key: alert for key, alert in room.alerts.items() if alert.active}
    alarming = {alert.device for alert in active.values()}
    drones = {
        name: _drone(device, state_of(device, look), name in alarming)
        for name, device in room.devices.items()
        if device.pose is not None
    }
    places = {
        "/".join(key): {
            "at": alert.position.coordinates,
            "radius": alert.h_acc_m,
            "severity": alert.severity,
            "name": alert.prompt,
            "device": alert.device,
            "alert": alert.alert_id,
            "quiet": not alert.rings,
            "others": [point[:2] for point in alert.points if point is not None],
        }
        for key, alert in heapq.nlargest(_ALERTS, active.items(), key=_weight)
        if alert.position is not None
    }
    macros = parts("map")
    unplaced = len(active) - len(places)
    return {
        "drones": drones,
        "places": places,
        "ground": _shapes(room.lists),
        "legend": {"line": macros.legend(len(drones), len(room.devices), len(places), unplaced)},
    }


def _weight(item: tuple[AlertKey, FoldedAlert]) -> tuple[int, datetime]:
    """The most severe first, then the newest: what is not drawn for want of room is the least of them."""
    _, alert = item
    return _SEVERITIES.index(alert.severity), alert.heard_at


def _drone(device: DeviceLine, state: str, alarming: bool) -> dict[str, Any]:
    assert device.pose is not None
    track = [(longitude, latitude) for _, longitude, latitude in list(device.track)[-_TRACK:]]
    return {
        "at": (device.pose.longitude, device.pose.latitude),
        "yaw": device.pose.yaw_deg,
        "state": state,
        "alarm": alarming,
        "track": track,
    }


def _shapes(lists: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Zones and lines of all drones; one that many lists have is drawn once."""
    return {
        f"{shape['kind']} {name} {shape['points']}": shape
        for text in set(lists.values())
        for name, shape in _ground(text)
    }


@lru_cache(maxsize=256)
def _ground(text: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Zones and lines that lie on the ground; those in the image have no place on a map."""
    try:
        prompts = load_prompt_bytes(text.encode(), "list").model
    except RemoteclipError:
        return ()  # of another version of the software: the drone took it, this page cannot read it
    shapes: list[tuple[str, dict[str, Any]]] = []
    for name, zone in prompts.zones.items():
        if isinstance(zone, GroundZone):
            ring = [(longitude, latitude) for latitude, longitude in zone.ground]
            shapes.append((name, {"name": name, "kind": "zone", "points": ring}))
    for name, line in prompts.lines.items():
        if isinstance(line, GroundLine):
            ends = [(longitude, latitude) for latitude, longitude in line.ground]
            shapes.append((name, {"name": name, "kind": "line", "points": ends}))
    return tuple(shapes)
