"""Answers what the control room asks over MQTT, in a thread of its own: neither link nor frame loop waits."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.mqtt.messages import IncomingMessage
from edge.outbox.file import OutboxDamagedError
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.topics import Channel, Topics

log = logging.getLogger(__name__)

Handler = Callable[[IncomingMessage], None]

_OWN_TOPICS = "remoteclip/"
MOST_WAITING_BYTES = 16 * 1024 * 1024
MOST_WAITING = 10_000
_STOP_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class _Turn:
    """Something to be done, and the bytes that wait for it."""

    name: str
    action: Callable[[], None]
    size: int


class RequestDesk:
    """`take` hands a message over and returns at once; its handler runs in the desk's thread, one at a time.

    Args:
        device: messages for another device's topics are ignored.
        handlers: by the channel of the topic, such as "prompts/set".
        on_failure: gets an OutboxDamagedError, which only a restart mends; called in the desk's thread.

    Beyond MOST_WAITING messages, or MOST_WAITING_BYTES of them, those that come are dropped and the log says
    so.
    """

    def __init__(
        self,
        device: str,
        handlers: Mapping[Channel, Handler],
        *,
        on_failure: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._device = device
        self._on_failure = on_failure
        self._handlers = dict(handlers)
        self._waiting: deque[_Turn] = deque()
        self._waiting_bytes = 0
        self._overrun = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)

    def __enter__(self) -> RequestDesk:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def take(self, message: IncomingMessage) -> None:
        """Put a message in line. From any thread; never waits, never raises for what a publisher sent."""
        topic = Topics.parse(message.topic)
        handler = None if topic is None or topic.device != self._device else self._handlers.get(topic.channel)
        if handler is None:
            return
        turn = _Turn(message.topic, lambda: handler(message), len(message.payload))
        with self._changed:
            if len(self._waiting) < MOST_WAITING and self._waiting_bytes + turn.size <= MOST_WAITING_BYTES:
                self._put(turn)
            elif not self._overrun:
                self._overrun = True
                log.warning("%s: more requests than can be answered; some are dropped", turn.name)

    def call(self, name: str, action: Callable[[], None]) -> None:
        """Have something done when all that was taken before is answered. `name` is for the log.

        What the drone itself wants is never dropped.
        """
        with self._changed:
            self._put(_Turn(name, action, 0))

    def stop(self) -> None:
        """Finish the request in hand, forget those in line. May be called twice."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(_STOP_PATIENCE_S)

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            try:
                turn.action()
            except RemoteclipError as error:
                log.error("%s: not answered: %s", turn.name, error)
                if isinstance(error, OutboxDamagedError):
                    self._on_failure(error)
            except Exception:  # whatever one request does, the next one is answered
                log.exception("%s: not answered", turn.name)

    def _put(self, turn: _Turn) -> None:
        self._waiting.append(turn)
        self._waiting_bytes += turn.size
        self._changed.notify()

    def _next(self) -> _Turn | None:
        with self._changed:
            while not self._waiting and not self._stopping:
                self._overrun = False
                self._changed.wait()
            if self._stopping:
                return None
            turn = self._waiting.popleft()
            self._waiting_bytes -= turn.size
            return turn


def answer_topic(request: IncomingMessage, otherwise: str) -> str:
    """The topic that the request wants its answer on, where an answer may go there.

    Not where it would pass for something else: a topic of any drone, or of the broker itself.
    """
    wanted = request.response_topic or ""
    forbidden = any(character in wanted for character in "+#\0")
    if not wanted or forbidden or wanted.startswith(("$", _OWN_TOPICS)):
        return otherwise
    return wanted
