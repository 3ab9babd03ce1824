"""Lines about requests that are refused, few of them: whoever sends one sends more."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

QUIET_S = 60.0


class Refusals:
    """One line, then none for `quiet_s` seconds; the next one says how many were left out. For one thread."""

    def __init__(
        self, log: logging.Logger, *, quiet_s: float = QUIET_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._quiet_s = quiet_s
        self._clock = clock
        self._until = -math.inf
        self._untold = 0

    def say(self, line: str) -> None:
        """Warn of one refusal, or count it."""
        now = self._clock()
        if now < self._until:
            self._untold += 1
            return
        more = f" ({self._untold} more were refused since the last such line)" if self._untold else ""
        self._log.warning("%s%s", line, more)
        self._until, self._untold = now + self._quiet_s, 0
