"""Samples in the order of time, and the two between which a moment lies."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

T = TypeVar("T")


class Series(Generic[T]):
    """Values at rising times. `keep` bounds how many are held, oldest out first; None: all of them."""

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self._times: list[float] = []
        self._values: list[T] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def first_s(self) -> float:
        """Time of the oldest sample. Raises IndexError when there is none."""
        return self._times[0]

    @property
    def last(self) -> tuple[float, T]:
        """The newest sample and its time. Raises IndexError when there is none."""
        return self._times[-1], self._values[-1]

    def add(self, time_s: float, value: T) -> bool:
        """Appends a sample; False, and nothing done, when it is not newer than the last."""
        if self._times and time_s <= self._times[-1]:
            return False
        self._times.append(time_s)
        self._values.append(value)
        # In lumps: cutting one off the front at every sample would move the whole list each time.
        if self._keep is not None and len(self._times) >= 2 * self._keep:
            del self._times[: -self._keep], self._values[: -self._keep]
        return True

    def clear(self) -> None:
        """Forgets all samples."""
        self._times.clear()
        self._values.clear()

    def around(self, time_s: float) -> tuple[tuple[float, T], tuple[float, T]] | None:
        """The samples before (or at) and after the moment; past the end the last two; the only one twice.

        None before the first sample, or when there is none.
        """
        after = bisect_right(self._times, time_s)
        if after == 0:
            return None
        after = min(after, len(self._times) - 1)
        before = max(after - 1, 0)
        return (self._times[before], self._values[before]), (self._times[after], self._values[after])

    def since(self, time_s: float) -> tuple[float, T]:
        """The oldest sample at the moment or after it. Raises IndexError when there is none."""
        at = bisect_left(self._times, time_s)
        return self._times[at], self._values[at]
