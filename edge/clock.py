"""Whether the time on this device can be trusted, as the kernel's clock discipline says."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # more than any libc's struct timex; it begins with `modes`, and 0 there only reads


def clock_is_synced() -> bool:
    """True when NTP, PTP, GPS or the like keeps the system clock right; False where that cannot be known."""
    adjtimex = _adjtimex()
    if adjtimex is None:
        return False
    state = int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return 0 <= state < _TIME_ERROR


@lru_cache(maxsize=1)
def _adjtimex() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "adjtimex", None)
