"""What stands on every page: whether it is connected, and how much is alarming."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from console.web.look import Look
from console.web.render import parts
from console.web.screen import Region

_SPOKEN = 50  # alerts whose words a page is sent


def top(look: Look) -> Mapping[str, Region]:
    """Regions `link`, `notices`, `alarms` (data: alerts that ring, how often one began to, active ones)."""
    room = look.services.room
    active = [(key, alert) for key, alert in room.alerts.items() if alert.active]
    # The newest: one that begins to ring is among them, however many rang before it.
    ringing = heapq.nlargest(_SPOKEN, ((alert.ring, key) for key, alert in active if alert.rings))
    macros = parts("top")
    notices = {
        name: macros.notice(name, problem, look.services.settings.broker)
        for name, problem in (
            ("connection", "" if room.connected else room.connection_problem or "connecting"),
            ("history", room.history_problem),
            ("lost", f"{room.lost:,}" if room.lost else ""),
        )
        if problem
    }
    return {
        "link": {"state": macros.link(room.connected, look.services.settings.broker)},
        "notices": notices,
        "alarms": {
            "active": len(active),
            "rung": room.rung,
            "ringing": {"/".join(key): macros.spoken(room.alerts[key]) for _, key in ringing},
        },
    }
