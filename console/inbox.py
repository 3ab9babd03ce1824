"""From the network's threads into the event loop, without a word lost between the two."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """`put` from any thread; one task of the event loop that called `open` takes. Keeps the newest.

    Args:
        most, most_bytes: items that may wait, and their size together.

    Attributes:
        dropped: items that went because the loop took them too slowly.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.dropped = 0
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._items: deque[tuple[Item, int]] = deque()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._woken = False

    def open(self) -> None:
        """Before the first `put`."""
        self._loop = asyncio.get_running_loop()

    def put(self, item: Item, size: int = 0) -> None:
        """`size` in bytes. The loop is woken once for all that came meanwhile."""
        assert self._loop is not None
        with self._lock:
            self._items.append((item, size))
            self._bytes += size
            while len(self._items) > self._most or (self._bytes > self._most_bytes and len(self._items) > 1):
                self._bytes -= self._items.popleft()[1]
                self.dropped += 1
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
                for _ in range(batch):
                    with self._lock:
                        if not self._items:
                            break
                        item, size = self._items.popleft()
                        self._bytes -= size
                    yield item
                await asyncio.sleep(0)

    def _wake(self) -> None:
        self._woken = False
        self._news.set()
