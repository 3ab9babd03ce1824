"""What a broker refused on one connection: tried again now and then, not overtaken by what belongs to it."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass

from edge.outbox.outbox import QueuedMessage

log = logging.getLogger(__name__)

RETRY_TIME = 60.0  # seconds after a refusal until it is tried again: the broker's rules may have been mended

_ALERT_ID = re.compile(rb'"alert_id":"([^"]+)"')
_Stream = tuple[str, bytes]


@dataclass(slots=True)
class _Blocked:
    """The first message of a stream that waits. While `again`, one message of the stream may be tried."""

    first: int
    again: bool = False
    tried: bool = False


class Refused:
    """Keeps the order of what must keep it: the events of an alert, and the values of a retained topic.

    Such a stream stands still behind a refused message, until that one is taken at a later try.
    """

    def __init__(self, retry_time: float = RETRY_TIME) -> None:
        self._retry_time = retry_time
        self._streams: dict[_Stream, _Blocked] = {}
        self._oldest: int | None = None  # of what waits for the next try
        self._due: float | None = None
        self._released: int | None = None
        self._told: set[tuple[str, str]] = set()

    def add(self, message: QueuedMessage) -> None:
        """It was refused (or is not to be tried now), and is due again after a while."""
        stream = _stream(message)
        if stream is not None:
            known = self._streams.get(stream)
            first = message.id if known is None else min(known.first, message.id)
            self._streams[stream] = _Blocked(first)
        self._oldest = message.id if self._oldest is None else min(self._oldest, message.id)
        self.remind()

    def tell(self, topic: str, problem: str, consequence: str) -> None:
        """One line for each reason, not for each message."""
        if (problem, consequence) not in self._told:
            self._told.add((problem, consequence))
            mend = " (does the broker let this login write there?)" if problem == "Not authorized" else ""
            log.warning("%s: refused: %s; %s%s", topic, problem, consequence, mend)

    def remind(self) -> None:
        """Something is to be tried again after a while."""
        if self._due is None:
            self._due = time.monotonic() + self._retry_time

    def may_go(self, message: QueuedMessage) -> bool:
        """Whether it may be sent, as far as what was refused is concerned."""
        blocked = self._find(message)
        if blocked is None:
            return True
        if not blocked.again:
            return False
        if not blocked.tried:  # the one that was refused, or what is the oldest since that one was shed
            blocked.first, blocked.tried = message.id, True
        return message.id == blocked.first

    def taken(self, message: QueuedMessage) -> bool:
        """Books a PUBACK: False if it went ahead of a refused one, so must be sent again after it."""
        blocked = self._find(message)
        if blocked is None or message.id < blocked.first:
            return True
        if message.id > blocked.first:
            return False
        stream = _stream(message)
        assert stream is not None  # it was found by it
        del self._streams[stream]
        self._released = message.id if self._released is None else min(self._released, message.id)
        return True

    def wait(self) -> float | None:
        """Seconds until something is to be tried again; None if nothing is."""
        if self._released is not None:
            return 0.0
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def due(self) -> bool:
        """Whether the time of a new try has come; once for each."""
        if self._due is None or time.monotonic() < self._due:
            return False
        self._due = None
        for blocked in self._streams.values():
            blocked.again, blocked.tried = True, False
        waiting = [blocked.first for blocked in self._streams.values()]
        waiting += [each for each in (self._oldest, self._released) if each is not None]
        self._oldest, self._released = None, min(waiting, default=None)
        return True

    def back_to(self) -> int | None:
        """The id from which on messages that waited may be sent now, None without any. Once for each."""
        released, self._released = self._released, None
        return released

    def _find(self, message: QueuedMessage) -> _Blocked | None:
        if not self._streams:
            return None
        stream = _stream(message)
        return None if stream is None else self._streams.get(stream)


def _stream(message: QueuedMessage) -> _Stream | None:
    """What a message must keep its place in; None where its order does not matter."""
    if message.retain:
        return message.topic, b""
    found = _ALERT_ID.search(message.payload) if message.event_id is not None else None
    return None if found is None else (message.topic, found.group(1))
