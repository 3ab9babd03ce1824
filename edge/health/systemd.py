"""What systemd is told: ready, status, stopping, and by its watchdog that frames go on.

The protocol of sd_notify(3): a datagram of NAME=value lines to the socket that `NOTIFY_SOCKET` names. Without
that variable nothing is sent, and nothing here ever raises into the flight: a daemon that cannot speak to
systemd flies on, and says once that it cannot.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

STATUS_BYTES = 1024
"""Longest status line; systemd drops a datagram of more than 4096 bytes whole."""
BEATS = 4
"""Datagrams in one period of the watchdog: one may get lost, and one may be a slow frame late."""
PATIENCE_S = 1.0
"""How long a message that must not get lost waits for room in systemd's queue."""
MORE_TIME_S = 5.0
"""Seconds between two requests for more time, where the watchdog does not want to hear from us earlier."""

_RETRY_S = 0.05
_log = logging.getLogger(__name__)


class Notifier:
    """The line to systemd, or to nobody. From any thread; a context manager, or `close` it.

    Args:
        environment: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked up; default: os.environ.

    Attributes:
        watchdog_s: seconds after which systemd restarts a process that does not say it is alive; None: never.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.watchdog_s = None if self._socket is None else _watchdog_seconds(environment)
        self._told = True

    @property
    def listening(self) -> bool:
        """Whether there is somebody to tell."""
        return self._socket is not None

    def ready(self, status: str = "") -> None:
        """Start-up is complete."""
        self._tell("READY=1", *([_status(status)] if status else []))

    def status(self, text: str) -> None:
        """One line for `systemctl status`; empty: none."""
        self._send((_status(text),))

    def stopping(self, status: str = "") -> None:
        """The end begins."""
        self._tell("STOPPING=1", *([_status(status)] if status else []))

    def alive(self) -> bool:
        """Feed the watchdog; False where it was not told. Never waits."""
        return self._send(("WATCHDOG=1",))

    def extend_timeout(self, seconds: float) -> None:
        """Ask for so many seconds from now on, where starting or stopping takes longer than the unit allows.

        Feeds the watchdog as well, which such a request alone does not hold off.
        """
        self._send((f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", "WATCHDOG=1"))

    def close(self) -> None:
        """Nothing is told any more. May be called twice."""
        held, self._socket = self._socket, None
        if held is not None:
            held.close()

    def __enter__(self) -> Notifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, *lines: str) -> None:
        """Send what systemd waits for, with patience while its queue is full."""
        until = time.monotonic() + PATIENCE_S
        while not self._send(lines) and self._socket is not None and time.monotonic() < until:
            time.sleep(_RETRY_S)

    def _send(self, lines: tuple[str, ...]) -> bool:
        held, address = self._socket, self._address
        if held is None or address is None:
            return False
        try:
            held.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, address)
        except OSError as error:
            if self._told:
                _log.warning("systemd cannot be told how the flight goes: %s", error.strerror or error)
            self._told = False
            return False
        self._told = True
        return True


class Watchdog:
    """Feeds systemd's watchdog as long as the frame loop makes progress."""

    def __init__(self, notifier: Notifier, clock: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._clock = clock
        self._every = None if notifier.watchdog_s is None else notifier.watchdog_s / BEATS
        self._due = -float("inf")

    def frame_done(self) -> None:
        """A frame went through, or the loop knows why there is none. Cheap: most calls send nothing."""
        if self._every is None:
            return
        now = self._clock()
        if now >= self._due and self._notifier.alive():
            self._due = now + self._every


class Start:
    """Tells systemd, once, that the start is done: the daemon flies, or waits for a camera, which it may.

    Args:
        lasting: closed then; it holds what asked for more time.
        flying: the line for `systemctl status` once it flies.
        loading_s: how long systemd is asked to wait for an engine.
    """

    def __init__(self, notifier: Notifier, lasting: ExitStack, flying: str, loading_s: float) -> None:
        self._notifier = notifier
        self._lasting = lasting
        self._flying = flying
        self._loading_s = loading_s
        self._told = ""

    def flies(self) -> None:
        """A frame went through. Cheap."""
        self._tell(self._flying)

    def waits(self) -> None:
        """The camera is waited for. Cheap."""
        self._tell("waiting for the camera")

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Inside, the first frame of its size has an engine loaded, or built, while no other goes through."""
        if self._told:
            self._tell("loading the engine")
        with more_time(self._notifier, self._loading_s):
            yield

    def _tell(self, status: str) -> None:
        if status == self._told:
            return
        if self._told:
            self._notifier.status(status)
        else:
            self._notifier.ready(status)
            self._lasting.close()
        self._told = status


@contextmanager
def more_time(notifier: Notifier, limit_s: float) -> Iterator[None]:
    """Inside, systemd is asked for more time again and again, at most for `limit_s` seconds in all.

    For work that nobody can hurry and that makes no frames meanwhile: building an engine, or sending the last
    messages over a slow link. A thread asks, so the limit is what ends work that hangs.
    """
    if not notifier.listening:
        yield
        return
    every = MORE_TIME_S if notifier.watchdog_s is None else min(MORE_TIME_S, notifier.watchdog_s / BEATS)
    done = Event()
    until = time.monotonic() + limit_s

    def ask() -> None:
        while time.monotonic() < until:
            notifier.extend_timeout(BEATS * every)
            if done.wait(every):
                return

    thread = Thread(target=ask, name="more-time", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _address(text: str) -> str | None:
    """The socket's address; "@" stands for the NUL byte of an abstract one."""
    if text.startswith("@"):
        return "\0" + text[1:]
    if text.startswith("/"):
        return text
    if text:
        _log.warning("NOTIFY_SOCKET=%s is no kind of address that is known here; systemd is not told", text)
    return None


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant_for = environment.get("WATCHDOG_PID", "")
    if not microseconds or (meant_for and meant_for != str(os.getpid())):
        return None
    if not (microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0):
        _log.warning("WATCHDOG_USEC=%s is no number of microseconds; the watchdog is not fed", microseconds)
        return None
    return int(microseconds) / 1e6


def _status(text: str) -> str:
    """The status as a line: what may come from outside must not make lines of its own."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return "STATUS=" + plain.encode(errors="replace")[:STATUS_BYTES].decode(errors="ignore")
