"""Messages from the network's threads: every one is taken, in the order of its thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from console.inbox import Inbox

EACH = 20_000


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads are interrupted between almost any two steps."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_nothing_that_two_threads_put_is_left_lying() -> None:
    async def take_all() -> list[tuple[int, int]]:
        inbox: Inbox[tuple[int, int]] = Inbox(10 * EACH, 1)
        inbox.open()

        def put_all(who: int) -> None:
            for number in range(EACH):
                inbox.put((who, number))

        threads = [threading.Thread(target=put_all, args=(who,)) for who in range(2)]
        for thread in threads:
            thread.start()
        taken: list[tuple[int, int]] = []
        async for item in inbox.take(batch=7):
            taken.append(item)
            if len(taken) == len(threads) * EACH:
                break
        for thread in threads:
            thread.join()
        assert inbox.dropped == 0
        return taken

    taken = asyncio.run(asyncio.wait_for(take_all(), 60))
    for who in range(2):
        assert [number for name, number in taken if name == who] == list(range(EACH))


def test_beyond_its_bound_the_oldest_go_and_are_counted() -> None:
    async def take_two() -> list[int]:
        inbox: Inbox[int] = Inbox(2, 1)
        inbox.open()
        for number in range(5):
            inbox.put(number)
        assert inbox.dropped == 3
        taken = inbox.take(batch=10)
        return [await anext(taken), await anext(taken)]

    assert asyncio.run(take_two()) == [3, 4]


def test_what_waits_is_bounded_in_bytes_too_but_the_newest_stays() -> None:
    async def put_large_ones() -> tuple[int, list[str]]:
        inbox: Inbox[str] = Inbox(100, 10)
        inbox.open()
        for name, size in [("a", 4), ("b", 4), ("c", 4), ("giant", 50)]:
            inbox.put(name, size)
        taken = inbox.take(batch=10)
        first = await anext(taken)
        inbox.put("d", 10)  # what was taken has made room
        return inbox.dropped, [first, await anext(taken)]

    assert asyncio.run(put_large_ones()) == (3, ["giant", "d"])
