"""When the pictures of a live stream were taken, and how far behind the stream is."""

from __future__ import annotations

from collections import deque
from statistics import median

_DRIFT = 0.001
"""Seconds a second by which a camera's clock may run slow against ours; crystals are ten times better."""
_STEP_BACK_S = 1.0
"""Time stamps of B-frames step back by some frames; further back the camera's clock was set anew."""
_KEPT_STEPS = 15


class StreamClock:
    """Maps a camera's time stamps to this machine's monotonic clock.

    The camera's clock has its own zero and rate. The picture that was delayed least of all so far counts as
    delayed by nothing; every other is late by what it is behind that one. So the jitter of a link stays out
    of capture times. What delays least may change only as fast as clocks drift apart: a delay that grows
    faster, a decoder that is a little too slow for instance, is seen as lateness and never becomes normal.

    RTCP sender reports are not used: they are in the camera's idea of UTC, which is often hours off.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._latest_s = 0.0
        self._noted_s = 0.0

    def note(self, stamp_s: float, arrived_s: float) -> float:
        """Takes the stamp of data that arrived now; returns by how many seconds it is late, at least 0."""
        offset_s = arrived_s - stamp_s
        if self._offset_s is None or stamp_s < self._latest_s - _STEP_BACK_S:
            self._offset_s, self._latest_s = offset_s, stamp_s
        else:
            drifted_s = self._offset_s + _DRIFT * (arrived_s - self._noted_s)
            self._offset_s = min(offset_s, drifted_s)
            self._latest_s = max(self._latest_s, stamp_s)
        self._noted_s = arrived_s
        return offset_s - self._offset_s

    def captured_s(self, stamp_s: float | None, now_s: float) -> float:
        """When the picture with this stamp was taken, never after `now_s`; that where there is no stamp."""
        if stamp_s is None or self._offset_s is None:
            return now_s
        return min(stamp_s + self._offset_s, now_s)


class Pace:
    """Tells how many pictures are missing between two, from the intervals before.

    `nominal_s` is the interval that the camera names, used until some were seen; None if it names none.
    """

    def __init__(self, nominal_s: float | None = None) -> None:
        self.nominal_s = nominal_s
        self._steps: deque[float] = deque(maxlen=_KEPT_STEPS)
        self._last_s: float | None = None

    @property
    def step_s(self) -> float | None:
        """Seconds between two pictures: the median of late, else what the camera says; None if unknown."""
        return median(self._steps) if len(self._steps) >= 3 else self.nominal_s

    def gap(self, at_s: float) -> int:
        """Takes the next picture's time; returns how many must have been between the last one and it."""
        last_s, self._last_s = self._last_s, at_s
        if last_s is None or at_s <= last_s:
            return 0
        usual_s = self.step_s
        self._steps.append(at_s - last_s)
        if usual_s is None or at_s - last_s < 1.75 * usual_s:
            return 0
        return round((at_s - last_s) / usual_s) - 1
