"""The page's live half: one WebSocket, on which the server sends what changed and the page says "shown".

Nothing is queued for a browser: it gets the difference to what it shows, when it has shown that. One that
stalls costs nothing but its connection, and is told the whole when it comes back.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from datetime import datetime, timezone

from starlette.websockets import WebSocket, WebSocketDisconnect

from console.accounts import Session
from console.services import Services
from console.web.guard import same_origin, session_of
from console.web.look import Look, View
from console.web.screen import Screen
from console.web.views import VIEWS
from console.web.views.top import top
from firmware_cfg.errors import RemoteclipError

PAUSE = 0.2  # seconds between two looks; an alert shall be there within one
_SHARE = 5  # a look that takes t is not repeated before 5 t: many browsers must not starve the broker's link
BEAT = 10.0  # seconds; an idle page hears the time, so that it knows that all is well
STALL = 30.0  # seconds that a browser has to show what it was sent
NOT_LOGGED_IN = 4401
STALLED = 4408
GONE = 1000


async def live(websocket: WebSocket) -> None:
    """`/live?view=NAME&...`, with the parameters of the page's own address."""
    view = VIEWS.get(websocket.query_params.get("view", ""))
    session = session_of(websocket)
    if view is None or not same_origin(websocket.headers):
        await websocket.close(4403)
        return
    await websocket.accept()
    if session is None:
        await websocket.close(NOT_LOGGED_IN)
        return
    shown = asyncio.Event()
    hearing = asyncio.ensure_future(_hear(websocket, shown))
    try:
        code = await _serve(websocket, view, session, shown, hearing)
    except (WebSocketDisconnect, asyncio.TimeoutError, ConnectionError):
        code = STALLED
    except RemoteclipError:  # the file of users cannot be read: the login says why
        code = NOT_LOGGED_IN
    finally:
        hearing.cancel()
    with suppress(RuntimeError, ConnectionError, WebSocketDisconnect):  # it may be closed already
        await websocket.close(code)


async def _hear(websocket: WebSocket, shown: asyncio.Event) -> None:
    """Until the page goes, or the server does: whatever it says means that it shows what it was sent."""
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await websocket.receive_text()
            shown.set()
    shown.set()  # nobody waits for a page that is gone


async def _serve(
    websocket: WebSocket, view: View, session: Session, shown: asyncio.Event, hearing: asyncio.Future[None]
) -> int:
    """The code to close the connection with."""
    services: Services = websocket.app.state.services
    query = dict(websocket.query_params)
    screen = Screen()
    told = 0.0
    while not hearing.done():
        if services.accounts.session(session.token) is None:
            return NOT_LOGGED_IN
        began = time.monotonic()
        look = Look(services, session, query, datetime.now(timezone.utc), websocket.app.state.memo)
        changes = screen.changes({**top(look), **view(look)})
        took = time.monotonic() - began
        if changes or began - told >= BEAT:
            told = began
            text = json.dumps({"now": look.now.timestamp(), "regions": changes}, separators=(",", ":"))
            took = time.monotonic() - began
            shown.clear()
            await asyncio.wait_for(websocket.send_text(text), STALL)
            await asyncio.wait_for(shown.wait(), STALL)
        await asyncio.wait({hearing}, timeout=max(PAUSE, _SHARE * took))
    return GONE
