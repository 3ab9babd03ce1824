"""SIGINT and SIGTERM as a request to end well; the second one ends at once."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SS_DISABLE = 2

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
