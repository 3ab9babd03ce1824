"""What the process holds on to."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
_ARENAS = 2


def keep_few_arenas() -> None:
    """Have glibc serve threads that begin from now on out of few heaps; elsewhere nothing happens.

    By itself it takes up to eight for each core, and what is freed in one is no use to another: 3 to 8 MiB
    of a flight, at no processor time that could be measured (docs/decisions/027).
    """
    options = getattr(ctypes.CDLL(None), "mallopt", None)
    if options is not None:
        options(_M_ARENA_MAX, _ARENAS)


def give_back_freed() -> None:
    """Give freed memory back to the system, which glibc does not do by itself; elsewhere nothing happens.

    Worth its milliseconds where much was freed at once: a compiled graph leaves 20 MiB behind.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
