"""SIGINT and SIGTERM as a request to end well, the second one ends at once; SIGHUP as one to reload."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

_SS_DISABLE = 2

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(
    stop: Callable[[str], None], reload: Callable[[], None] | None = None
) -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM calls `stop(its name)`; a second one does what it did before.

    Every SIGHUP calls `reload`, also while the end is under way; without `reload` it stays as it was. Both
    run in the main thread between two of its instructions, so they must not wait for a lock.
    """
    handled = STOPPING if reload is None else (*STOPPING, signal.SIGHUP)
    previous = {number: signal.getsignal(number) for number in handled}

    def restore(numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            signal.signal(number, previous[number])

    def handle(number: int, frame: FrameType | None) -> None:
        restore(STOPPING)
        stop(signal.Signals(number).name)

    def handle_hangup(number: int, frame: FrameType | None) -> None:
        if reload is not None:
            reload()

    for number in handled:
        signal.signal(number, handle_hangup if number == signal.SIGHUP else handle)
    try:
        yield
    finally:
        restore(handled)


class _AlternateStack(ctypes.Structure):
    """stack_t of <signal.h> on Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def use_ordinary_stack() -> None:
    """Let this thread's signal handlers run on its ordinary stack again.

    OpenVINO's CPU plugin leaves an alternate stack behind that just holds what the kernel saves of the
    registers: Python's own handler then writes past its end, and SIGTERM becomes a segmentation fault.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.sigaltstack(ctypes.byref(_AlternateStack(None, _SS_DISABLE, 0)), None) != 0:
        raise OSError(ctypes.get_errno(), "sigaltstack")
