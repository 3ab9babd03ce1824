"""What the page fetches beside its live half: series of counts, lists, and files to take away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from console import export
from console.accounts import Session
from console.services import Services
from firmware_cfg.errors import UsageError
from firmware_cfg.names import is_identifier

HOURS = {"0.25": "15 minutes", "1": "1 hour", "6": "6 hours", "24": "1 day", "168": "1 week"}
LIST_SHA256 = "x-list-sha256"
POINTS = 600  # of one line of a chart; a screen has not many more


async def beside(name: str, request: Request) -> Mapping[str, Any]:
    """What a page's template needs beyond its live regions."""
    services: Services = request.app.state.services
    query = request.query_params
    if name == "counts":
        series = await asyncio.to_thread(services.history.count_series)
        names = sorted({one.device for one in series} | set(services.room.devices))
        return {"hours": HOURS, "names": names}
    if name == "prompts":
        chosen = query.get("device", "")
        sha256, text = services.room.prompt_lists.offered(chosen) or ("", "")
        return {"chosen": chosen, "text": text, "sha256": sha256}
    if name == "alert":
        key = (query.get("device", ""), query.get("alert", ""))
        return {"alert": services.room.alerts.get(key)}
    return {}


def _named(request: Request, name: str) -> str | None:
    value = request.query_params.get(name) or None
    if value is not None and not is_identifier(value):
        raise UsageError(f"{name} {value[:80]!r} is no name")
    return value


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name, "")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(float(text), timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{name} must be seconds since 1970, got {text[:40]!r}") from None


def _span(request: Request) -> tuple[datetime, datetime]:
    """`since` and `until` in seconds since 1970, or the last `hours`."""
    until = _moment(request, "until") or datetime.now(timezone.utc)
    hours = request.query_params.get("hours", "1")
    since = _moment(request, "since") or until - timedelta(hours=float(hours) if hours in HOURS else 1)
    if since >= until:
        raise UsageError("since must be before until")
    return since, until


async def series(request: Request, session: Session) -> Response:
    """Every prompt of `device` as `{"since", "until", "lines": [{"prompt", "kind", "points": [...]}]}`.

    A point is [time, low, high, count, unique, score]; times are seconds since 1970.
    """
    services: Services = request.app.state.services
    device = _named(request, "device")
    since, until = _span(request)
    history = services.history
    lines = []
    for one in await asyncio.to_thread(history.count_series):
        if one.device == device:
            points = await asyncio.to_thread(history.counts, one.device, one.prompt, since, until, POINTS)
            rows = [
                (round(at.at.timestamp(), 3), at.low, at.high, at.count, at.unique, round(at.score, 4))
                for at in points
            ]
            lines.append({"prompt": one.prompt, "kind": one.kind, "points": rows})
    return JSONResponse({"since": since.timestamp(), "until": until.timestamp(), "lines": lines})


async def list_in_force(request: Request, session: Session) -> Response:
    """The text of the list that `device` should have, with its hash; it is asked where none is known."""
    services: Services = request.app.state.services
    device = _named(request, "device") or ""
    sha256, text = await services.actions.lists.text(session.user, device)
    return PlainTextResponse(text, headers={LIST_SHA256: sha256})


async def counts_csv(request: Request, session: Session) -> Response:
    """The counts of `device` (of all where none is named), as CSV."""
    services: Services = request.app.state.services
    since, until = _span(request)
    lines = export.counts_csv(services.history, device=_named(request, "device"), since=since, until=until)
    return StreamingResponse(lines, media_type="text/csv", headers=_file("counts.csv"))


async def alerts_geojson(request: Request, session: Session) -> Response:
    """The alerts that are shown, as a GeoJSON feature collection."""
    services: Services = request.app.state.services
    text = export.alerts_geojson(services.room.alerts.values())
    return Response(text, media_type="application/geo+json", headers=_file("alerts.geojson"))


async def alerts_cot(request: Request, session: Session) -> Response:
    """The active alerts as Cursor-on-Target."""
    services: Services = request.app.state.services
    text = export.alerts_cot(services.room)
    return Response(text, media_type="application/xml", headers=_file("alerts.cot.xml"))


def _file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
