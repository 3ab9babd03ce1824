"""From the network's threads into the event loop, without a word lost between the two."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """`put` from any thread; one task of the event loop that called `open` takes. Keeps `most`, the newest.

    Attributes:
        dropped: items that went because the loop took them too slowly.
    """

    def __init__(self, most: int) -> None:
        self.dropped = 0
        self._most = most
        self._items: deque[Item] = deque(maxlen=most)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._woken = False

    def open(self) -> None:
        """Before the first `put`."""
        self._loop = asyncio.get_running_loop()

    def put(self, item: Item) -> None:
        """The loop is woken once for all that came meanwhile."""
        assert self._loop is not None
        self.dropped += len(self._items) >= self._most
        self._items.append(item)
        # After the item is there: whoever finds the flag set comes before the wake-up that takes it down.
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake)

    async def take(self, batch: int) -> AsyncIterator[Item]:
        """All items as they come; after every `batch` of them the loop does what else it has to."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._items:
                for _ in range(min(batch, len(self._items))):
                    yield self._items.popleft()
                await asyncio.sleep(0)

    def _wake(self) -> None:
        self._woken = False
        self._news.set()
