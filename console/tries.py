"""Wrong passwords by name and by address: whoever guesses has to wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from firmware_cfg.errors import RemoteclipError

FREE_TRIES = 5
"""Wrong passwords of one name, or from one address, that cost no waiting."""
LONGEST_WAIT_S = 300.0
FORGET_S = 900.0
_MOST_REMEMBERED = 10_000  # names and addresses; the ones that came longest ago go


class AccountsError(RemoteclipError):
    """The file of users cannot be used, or somebody may not come in."""


class TooManyTries(AccountsError):
    """`wait_s` is how long no password is looked at."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(f"too many wrong passwords: wait {max(1, round(wait_s))} s")


class Tries:
    """After FREE_TRIES each wrong password doubles the time to wait. Keys are names and addresses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, *keys: str) -> None:
        """Raises TooManyTries while one of them has to wait."""
        now = self._clock()
        wait_s = max(self._wait(key, now) for key in keys)
        if wait_s > 0:
            raise TooManyTries(wait_s)

    def failed(self, *keys: str) -> None:
        """A password was wrong."""
        now = self._clock()
        for key in keys:
            count, at = self._failed.pop(key, (0, now))
            self._failed[key] = (count if now - at < FORGET_S else 0) + 1, now
        while len(self._failed) > _MOST_REMEMBERED:
            self._failed.popitem(last=False)

    def passed(self, *keys: str) -> None:
        """A password was right."""
        for key in keys:
            self._failed.pop(key, None)

    def _wait(self, key: str, now: float) -> float:
        count, at = self._failed.get(key, (0, now))
        if count < FREE_TRIES or now - at >= FORGET_S:
            return 0.0
        return at + min(2.0 ** min(count - FREE_TRIES, 30), LONGEST_WAIT_S) - now
