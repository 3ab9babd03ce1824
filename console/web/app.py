"""The page as a web application: which address leads where."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from console.accounts import Session
from console.services import Services
from console.tries import AccountsError, TooManyTries
from console.web import doing, reading
from console.web.guard import COOKIE, Guard, changing, form, session_of, signed_in
from console.web.live import live
from console.web.render import Memo, environment
from firmware_cfg.errors import RemoteclipError

STATIC = Path(__file__).parent / "static"
PAGES = {
    "alerts": "Alerts",
    "fleet": "Fleet",
    "map": "Map",
    "counts": "Counts",
    "prompts": "Prompts",
    "audit": "Audit",
}


def create_app(services: Services) -> Starlette:
    """The application; `services` are reached as `app.state.services`."""
    routes = [
        Route("/", signed_in(_home)),
        *(Route(f"/{name}", signed_in(_page(name))) for name in (*PAGES, "alert", "device")),
        Route("/login", _login, methods=["GET"]),
        Route("/login", _enter, methods=["POST"]),
        Route("/logout", changing(_leave), methods=["POST"]),
        Route("/do/{what}", changing(doing.do), methods=["POST"]),
        Route("/series", signed_in(reading.series)),
        Route("/list", signed_in(reading.list_in_force)),
        Route("/export/counts.csv", signed_in(reading.counts_csv)),
        Route("/export/alerts.geojson", signed_in(reading.alerts_geojson)),
        Route("/export/alerts.cot", signed_in(reading.alerts_cot)),
        WebSocketRoute("/live", live),
        Mount("/static/{stamp}", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, services=services)],
        exception_handlers={RemoteclipError: _said, 404: _nowhere},
    )
    app.state.services = services
    app.state.memo = Memo()
    return app


async def _home(request: Request, session: Session) -> Response:
    return RedirectResponse("/alerts", 303)


def _page(name: str) -> Any:
    async def page(request: Request, session: Session) -> Response:
        services: Services = request.app.state.services
        if name == "counts" and "device" not in request.query_params and services.room.devices:
            return RedirectResponse(f"/counts?device={min(services.room.devices)}", 303)
        return _html(
            f"{name}.html",
            view=name,
            pages=PAGES,
            session=session,
            query=dict(request.query_params),
            settings=services.settings,
            **(await reading.beside(name, request)),
        )

    return page


def _html(template: str, status: int = 200, **values: Any) -> Response:
    return HTMLResponse(environment().get_template(template).render(stamp=_stamp(), **values), status)


@cache
def _stamp() -> str:
    """Changes with the static files and is part of their address: scripts import each other beside it, so a
    browser never runs an old one with a new page, and may keep them for good."""
    return f"{max(int(path.stat().st_mtime) for path in STATIC.iterdir()):x}"


async def _login(request: Request) -> Response:
    if session_of(request) is not None:
        return RedirectResponse("/alerts", 303)
    services: Services = request.app.state.services
    return _html("login.html", problem="", name="", empty=services.accounts.empty)


async def _enter(request: Request) -> Response:
    services: Services = request.app.state.services
    try:
        fields = await form(request)
    except ValueError:
        return PlainTextResponse("This form is not one of ours.\n", 400)
    name = fields.get("name", "").strip()
    address = request.client.host if request.client is not None else ""
    try:
        session = await services.accounts.login(name, fields.get("password", ""), address)
    except AccountsError as error:
        status = 429 if isinstance(error, TooManyTries) else 403
        empty = services.accounts.empty
        answer = _html("login.html", status, problem=str(error), name=name[:64], empty=empty)
        if isinstance(error, TooManyTries):
            answer.headers["retry-after"] = str(max(1, round(error.wait_s)))
        return answer
    services.actions.note(session.user.name, "login", address)
    answer = RedirectResponse("/alerts", 303)
    answer.set_cookie(
        COOKIE, session.token, httponly=True, samesite="strict", secure=services.settings.secure, path="/"
    )
    return answer


async def _leave(request: Request, session: Session) -> Response:
    services: Services = request.app.state.services
    services.accounts.logout(session.token)
    services.actions.note(session.user.name, "logout")
    answer = PlainTextResponse("")
    answer.delete_cookie(COOKIE, path="/")
    return answer


async def _said(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 409)


async def _nowhere(request: Request, error: Exception) -> Response:
    return _html("nowhere.html", 404)
