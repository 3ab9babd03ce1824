"""What every answer carries, and what every request must: headers, sizes, origin, session, CSRF token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.accounts import Session
from console.services import Services

COOKIE = "remoteclip-console"
MAX_BODY = 512 * 1024  # bytes; a prompt list of a thousand sentences is a fifth of it
MAX_FORM = 4096

Endpoint = Callable[[Request], Awaitable[Response]]


def content_security_policy(tiles: str | None) -> str:
    """Nothing but what this server serves, and the pictures of a tile server that the operator named."""
    split = urlsplit(tiles or "")
    elsewhere = (
        f" {split.scheme}://{split.netloc.replace('{s}', '*')}" if split.scheme and split.netloc else ""
    )
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; "
        f"img-src 'self' data:{elsewhere}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


class Guard:
    """ASGI middleware: security headers on every answer, and no change that another page asks for."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        settings = services.settings
        self._headers = {
            "content-security-policy": content_security_policy(settings.tiles),
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), microphone=(), geolocation=()",
        }
        if settings.secure:
            self._headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                kept = scope["path"].startswith("/static/") and message["status"] == 200
                headers["cache-control"] = "max-age=31536000, immutable" if kept else "no-store"
            await send(message)

        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD") and not same_origin(headers):
            refused = PlainTextResponse("This request comes from another page.\n", 403)
            await refused(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


def same_origin(headers: Headers) -> bool:
    """Whether the browser says that a page of this very server asks. One that does not say is refused."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == headers.get("host")


async def body(request: Request, most: int = MAX_BODY) -> bytes:
    """The request's body. Raises ValueError beyond `most` bytes, before it is read to its end."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > most:
            raise ValueError(f"more than {most} bytes")
    return bytes(read)


async def form(request: Request) -> dict[str, str]:
    """The fields of a small form. Raises ValueError for one that is too large or is no text."""
    fields = parse_qs((await body(request, MAX_FORM)).decode(), keep_blank_values=True, max_num_fields=20)
    return {name: values[-1] for name, values in fields.items()}


def session_of(connection: HTTPConnection) -> Session | None:
    """Who is logged in here."""
    services: Services = connection.app.state.services
    token = connection.cookies.get(COOKIE)
    return services.accounts.session(token) if token else None


def signed_in(endpoint: Callable[[Request, Session], Awaitable[Response]]) -> Endpoint:
    """Pages for those who are logged in; others are led to the login."""

    async def guarded(request: Request) -> Response:
        session = session_of(request)
        if session is None:
            return RedirectResponse("/login", 303)
        return await endpoint(request, session)

    return guarded


def changing(endpoint: Callable[[Request, Session], Awaitable[Response]]) -> Endpoint:
    """Requests that change something: a session, and the token that only its pages know."""

    async def guarded(request: Request) -> Response:
        session = session_of(request)
        if session is None:
            return PlainTextResponse("You are not logged in any more: load the page again.\n", 401)
        said = request.headers.get("x-csrf-token", "")
        if not hmac.compare_digest(said.encode(), session.csrf.encode()):
            return PlainTextResponse("This page is out of date: load it again.\n", 403)
        return await endpoint(request, session)

    return guarded
