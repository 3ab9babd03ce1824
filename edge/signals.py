"""SIGINT and SIGTERM as a request to end well; the second one ends at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM calls `stop(its name)`; a second one does what it did before.

    `stop` runs in the main thread between two of its instructions, so it must not wait for a lock.
    """
    previous = {number: signal.getsignal(number) for number in STOPPING}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        stop(signal.Signals(number).name)

    for number in STOPPING:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
