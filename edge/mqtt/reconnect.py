"""A thread that keeps a connection: connects, serves and, after a growing pause, connects again."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from edge.backoff import Backoff
from edge.mqtt.connection import Connection
from firmware_cfg.errors import BrokerError, OutboxError

log = logging.getLogger(__name__)

LinkState = Literal["connecting", "online", "offline", "stopped"]

_STEADY = 10.0  # seconds a connection must last before the next pause is short again
_ONLINE = "online"
_FLAPPING = 3  # tries after which a link that flaps waits no longer: it gets its messages through bit by bit


def unharmed(call: Callable[[], None]) -> Callable[[], None]:
    """A callback whose mistake is logged and does not end the connection, which alerts need."""

    def guarded() -> None:
        try:
            call()
        except Exception:
            log.exception("what is due with a new connection could not be done")

    return guarded


class KeptConnection(ABC):
    """A thread that connects, serves the connection until it ends, and connects again until it is stopped.

    Each problem is one log line, however often it is tried, until a connection has lasted for some seconds.
    """

    def __init__(self, name: str, *, backoff: Backoff | None = None, meanwhile: str = "trying again") -> None:
        self._meanwhile = meanwhile
        self._short_lived = 0  # connections in a row that ended soon after they were made
        self.state: LinkState = "connecting"
        self.problem = ""  # the line that says why the state is "offline"
        self._backoff = backoff or Backoff()
        self._told: set[str] = set()  # what was logged since a connection lasted
        self._news: tuple[float, str] | None = None  # a line, and when it is to be logged
        self._online = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def _dial(self) -> Connection:
        """Raises BrokerError."""

    @abstractmethod
    def _serve(self, connection: Connection) -> str | None:
        """Returns, when the connection has ended, why; None where it was ended to make a new one at once."""

    def start(self) -> None:
        """Starts the thread; an unreachable broker is no error, it is tried again and again."""
        self._thread.start()

    def wait_online(self, timeout: float) -> bool:
        """Waits, at most `timeout` seconds, until the broker has accepted us."""
        return self._online.wait(timeout)

    def _run(self) -> None:
        renew = False
        # Who is stopped between two connections still says goodbye, on the new one.
        while renew or not self._stopping.is_set():
            renew = False
            try:
                connection = self._dial()
                began = time.monotonic()
                try:
                    problem = self._serve(connection)
                finally:
                    connection.release()
                    self._news = None
                    lasted = time.monotonic() - began >= _STEADY
                    if lasted:
                        self._backoff.reset()
                        self._told.clear()
                if problem is None:
                    renew = True
                    continue
                self._short_lived = 0 if lasted else self._short_lived + 1
            except (BrokerError, OutboxError) as error:
                problem = str(error)
            except Exception:  # a drone whose link thread has died would fall silent for good
                log.exception("the broker link met an unexpected error and starts again")
                problem = "unexpected error, see the log"
            if self._online.is_set():
                # Not at once, every time: two drones of one name look like a link that flaps.
                self._backoff.reset(min(self._short_lived, _FLAPPING))
            self._online.clear()
            if not self._stopping.is_set():
                self._change("offline", problem)
                self._stopping.wait(self._backoff.next())
        self._online.clear()
        self._change("stopped", "")

    def _change(self, state: LinkState, problem: str) -> None:
        self.state, self.problem = state, problem
        if problem and problem not in self._told:  # a network that wavers between two ills says each once
            self._told.add(problem)
            log.warning("%s; %s", problem, self._meanwhile)

    def _came_online(self, line: str) -> None:
        """The broker has accepted us. On a link that flaps, that is said once the connection lasts."""
        self._change("online", "")
        self._online.set()
        known = _ONLINE in self._told
        self._told.add(_ONLINE)
        self._news = (time.monotonic() + (_STEADY if known else 0.0), line)
        self._tell_news()

    def _tell_news(self) -> None:
        if self._news is not None and time.monotonic() >= self._news[0]:
            log.info("%s", self._news[1])
            self._news = None

    def _news_wait(self) -> float | None:
        """Seconds until `_tell_news` has something to say; None if it has not."""
        return None if self._news is None else max(0.0, self._news[0] - time.monotonic())
