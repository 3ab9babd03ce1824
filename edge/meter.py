"""How fast the frame loop runs, and how long a frame takes from the source to its counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from firmware_cfg.messages import LatencyMs


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one interval: `frames` since the start, frames per second, latency (None without a frame)."""

    frames: int
    fps: float
    latency_ms: LatencyMs | None


class FrameMeter:
    """Counted by the frame loop, read by any one other thread. `clock` gives seconds that pass."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._frames = 0
        self._latencies_ms: list[float] = []
        self._since = clock()

    @property
    def frames(self) -> int:
        """Frames since the start."""
        return self._frames

    def add(self, latency_s: float) -> None:
        """Count one frame that took `latency_s` seconds."""
        with self._lock:
            self._frames += 1
            self._latencies_ms.append(max(0.0, latency_s) * 1000)

    def read(self) -> Reading:
        """The numbers since the last reading."""
        with self._lock:
            latencies, self._latencies_ms = self._latencies_ms, []
            now = self._clock()
            elapsed, self._since = now - self._since, now
            frames = self._frames
        fps = len(latencies) / elapsed if elapsed > 0 else 0.0
        if not latencies:
            return Reading(frames, fps, None)
        p50, p95, p99 = (float(value) for value in np.percentile(latencies, [50, 95, 99]).round(2))
        return Reading(frames, round(fps, 2), LatencyMs(p50=p50, p95=p95, p99=p99))
