"""Growing pauses between tries, for brokers and cameras that went away."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Growing pauses with jitter, in seconds, so that a fleet does not return all at once."""

    first: float = 0.5
    longest: float = 30.0
    draw: Callable[[float, float], float] = random.uniform
    _tries: int = field(default=0, init=False)

    def next(self) -> float:
        """Between half of and all of `first * 2**tries`, at most `longest`."""
        pause = min(self.longest, self.first * 2.0 ** min(self._tries, 32))
        self._tries += 1
        return self.draw(pause / 2, pause)

    def reset(self, tries: int = 0) -> None:
        """Go on as if there had been so many tries."""
        self._tries = tries
