"""When a message was sent, by the receiver's clock, from the sender's time since its boot."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 10.0
"""Long enough to meet a message that was not delayed, short enough to follow clocks that drift apart."""
_REBOOT_S = 1.0


class BootClock:
    """Takes the transport's jitter out of arrival times.

    The sender's clock goes evenly, messages only ever arrive late: so the smallest difference between arrival
    and sending, of the last seconds, is the one between the clocks (and the shortest delay there is).
    A sender whose time goes back has rebooted.
    """

    def __init__(self) -> None:
        self._least: deque[tuple[float, float]] = deque()  # rising differences, with when they were met
        self._last_boot_s = 0.0

    def sent_at(self, boot_s: float, arrived_s: float) -> float:
        """The moment of sending on the clock of `arrived_s`; never later than the arrival."""
        if boot_s < self._last_boot_s - _REBOOT_S:
            self._least.clear()
            self._last_boot_s = boot_s
        self._last_boot_s = max(self._last_boot_s, boot_s)
        difference = arrived_s - boot_s
        while self._least and self._least[-1][0] >= difference:
            self._least.pop()
        self._least.append((difference, arrived_s))
        while arrived_s - self._least[0][1] > _WINDOW_S:
            self._least.popleft()
        return boot_s + self._least[0][0]
