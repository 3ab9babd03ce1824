"""Which message a broker hangs up at: connections that end again and again with the same one in flight."""

from __future__ import annotations

from collections.abc import Sequence

_SUSPECTED = 2  # connections that ended with a message as the oldest in flight before it is tried alone
_CONVICTED = 4  # ... before the others go first


class Suspects:
    """Shared by all connections of a link, and used in its thread alone. Messages go by their id.

    Connections end for many reasons, but rarely twice with the same message as the oldest in flight. From
    then on that one and those in flight behind it are sent one by one, which clears all but the one to blame.
    """

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._one_by_one: set[int] = set()

    def ended(self, in_flight: Sequence[int]) -> None:
        """A connection ended, and not by us, with these messages in flight, the oldest first."""
        if not in_flight:
            return
        oldest = in_flight[0]
        self._ends[oldest] = self._ends.get(oldest, 0) + 1
        if self.suspected(oldest):
            self._one_by_one.update(in_flight)

    def taken(self, message_id: int) -> None:
        """The broker answered, so this is not the one."""
        self._ends.pop(message_id, None)
        self._one_by_one.discard(message_id)

    def goes_alone(self, message_id: int) -> bool:
        """Whether nothing else may be in flight with it."""
        return message_id in self._one_by_one

    def suspected(self, message_id: int) -> bool:
        """Whether more than one connection ended with it."""
        return self._ends.get(message_id, 0) >= _SUSPECTED

    def convicted(self, message_id: int) -> bool:
        """Whether enough connections ended with it."""
        return self._ends.get(message_id, 0) >= _CONVICTED
