"""The views by name. Each takes one look at the control room and gives the regions of its page."""

from __future__ import annotations

from console.web.look import View
from console.web.views.alerts import alert, alerts
from console.web.views.audit import audit
from console.web.views.counts import counts
from console.web.views.fleet import device, fleet
from console.web.views.map import chart
from console.web.views.prompts import prompts

VIEWS: dict[str, View] = {
    "alerts": alerts,
    "alert": alert,
    "fleet": fleet,
    "device": device,
    "map": chart,
    "counts": counts,
    "prompts": prompts,
    "audit": audit,
}
