"""Counts over time: which series there are. The points themselves are fetched by static/chart.js."""

from __future__ import annotations

from collections.abc import Mapping

from console.web.look import Look
from console.web.render import parts
from console.web.screen import Region


def counts(look: Look) -> Mapping[str, Region]:
    """Region `newest`: the numbers of this moment of the device that is looked at."""
    macros = parts("fleet")
    device = look.services.room.devices.get(look.query.get("device", ""))
    if device is None:
        return {"newest": {}}
    return {"newest": {name: macros.count(count) for name, count in sorted(device.counts.items())}}
