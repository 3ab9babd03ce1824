"""One process, one event loop: the broker's messages, the page, and the files of both."""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.accounts import Accounts
from console.actions import Actions
from console.history import History
from console.link import BrokerLink
from console.retention import Keep
from console.services import Services, Settings
from console.state import ControlRoom
from edge.signals import stopped_by_signals
from firmware_cfg.errors import MissingExtra, RemoteclipError, UsageError

if TYPE_CHECKING:
    from edge.mqtt.settings import BrokerSettings

log = logging.getLogger(__name__)

HISTORY_NAME = "history.db"
USERS_NAME = "users.json"
LOCK_NAME = "lock"
EXTRA = "console"
MAX_WS_BYTES = 64 * 1024  # of one message from a browser
_GOODBYE_S = 3  # that browsers get at the end


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is served, and with which certificate."""

    host: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @classmethod
    def checked(
        cls, host: str, port: int, tls_cert: Path | None, tls_key: Path | None, *, insecure_http: bool
    ) -> Address:
        """Raises UsageError for what would send passwords in the clear, or cannot work."""
        if (tls_cert is None) != (tls_key is None):
            raise UsageError("--tls-cert and --tls-key go together")
        if tls_cert is None and not insecure_http and not _loopback(host):
            raise UsageError(
                f"--host {host}: passwords would cross the network in the clear"
                " (give --tls-cert and --tls-key, or --insecure-http behind a proxy with TLS)"
            )
        if tls_cert is not None and tls_key is not None:
            try:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(tls_cert, tls_key, password=lambda: "")
            except OSError as error:
                reason = error.strerror or str(error)
                raise UsageError(f"--tls-cert {tls_cert}, --tls-key {tls_key}: {reason}") from error
        return cls(host, port, tls_cert, tls_key)

    @property
    def scheme(self) -> str:
        return "http" if self.tls_cert is None else "https"


def serve(
    broker: BrokerSettings,
    address: Address,
    data: Path,
    settings: Settings,
    *,
    client_id: str,
    keep_days: float,
    keep_bytes: int,
) -> None:
    """Until SIGINT or SIGTERM.

    Raises:
        MissingExtra: the extra `console` is not installed. UsageError, RemoteclipError: it cannot begin.
    """
    _require_extra()
    with _owned(data), _listening(address) as listener:
        keep = Keep(days=keep_days, max_bytes=keep_bytes)
        asyncio.run(_serve(broker, address, data, settings, client_id, keep, listener))


def open_accounts(data: Path) -> Accounts:
    """The users of the console whose files are in `data`. Raises RemoteclipError."""
    _make_folder(data)
    return Accounts(data / USERS_NAME)


async def _serve(
    broker: BrokerSettings,
    address: Address,
    data: Path,
    settings: Settings,
    client_id: str,
    keep: Keep,
    listener: socket.socket,
) -> None:
    import uvicorn

    from console.web.app import create_app

    class _OwnSignals(uvicorn.Server):
        """uvicorn would die by the signal that stopped it, before the history is written."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    loop = asyncio.get_running_loop()

    def tell(problem: str) -> None:
        loop.call_soon_threadsafe(lambda: room.tell(history_problem=problem))

    history = History(data / HISTORY_NAME, keep=keep, on_problem=tell)
    room = ControlRoom(kept=history.has_event)
    try:
        link = BrokerLink(broker, room, history, client_id=client_id)
        accounts = open_accounts(data)
        services = Services(room, history, link, Actions(room, history, link), accounts, settings)
        server = _OwnSignals(_config(create_app(services), address))
        _say_where(address, listener, accounts)
        hearing = asyncio.ensure_future(link.run())
        serving = asyncio.ensure_future(server.serve([listener]))
        hearing.add_done_callback(lambda _task: setattr(server, "should_exit", True))

        def stop(_name: str) -> None:
            server.should_exit = True
            loop.call_soon_threadsafe(link.give_up)

        with stopped_by_signals(stop):
            await asyncio.wait({serving})
        hearing.cancel()
        for task in await asyncio.gather(serving, hearing, return_exceptions=True):
            if isinstance(task, Exception):
                raise task
    finally:
        await asyncio.to_thread(history.close)


def _config(app: Any, address: Address) -> Any:
    import uvicorn

    return uvicorn.Config(
        app,
        log_config=None,  # the log is the command's, and no line of it has what a browser sent
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=MAX_WS_BYTES,
        limit_concurrency=1000,
        timeout_graceful_shutdown=_GOODBYE_S,
        ssl_certfile=address.tls_cert,
        ssl_keyfile=address.tls_key,
    )


def _say_where(address: Address, listener: socket.socket, accounts: Accounts) -> None:
    host = f"[{address.host}]" if ":" in address.host else address.host
    log.info("the page is at %s://%s:%d/", address.scheme, host, listener.getsockname()[1])
    if accounts.empty:
        log.warning("nobody can log in yet (remoteclip console user add NAME --role operator)")


@contextmanager
def _listening(address: Address) -> Iterator[socket.socket]:
    """Before anything else is begun: a port that is taken is one line."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise RemoteclipError(
            f"{address.host}:{address.port}: {reason} (name another --host or --port)"
        ) from error
    with listener:
        yield listener


@contextmanager
def _owned(data: Path) -> Iterator[None]:
    """One console in one folder: two would take each other's place at the broker."""
    _make_folder(data)
    handle = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            problem = f"{data}: another console works with this folder"
            raise RemoteclipError(f"{problem} (stop it, or name another with --data)") from None
        yield
    finally:
        os.close(handle)


def _make_folder(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(data, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable")
    except OSError as error:
        raise RemoteclipError(f"{data}: {error.strerror} (name a folder of yours with --data)") from error


def _require_extra() -> None:
    for module in ("starlette", "uvicorn", "websockets", "jinja2"):
        try:
            __import__(module)
        except ImportError:
            raise MissingExtra(module, EXTRA) from None


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
