"""How fast the frame loop runs, how long a frame takes to its counts, and what came of it."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from edge.pipeline import StageSeconds
from firmware_cfg.messages import LatencyMs

if TYPE_CHECKING:
    from edge.alerts.machine import Transition
    from edge.pipeline import FrameResult

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of a histogram's buckets, seconds: from a tracker's half millisecond up."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one interval; `frames`, and seconds, since the start, frames per second, latency (None: no frame).

    `uptime_s` passes as the monotonic clock does: the device's clock may be set meanwhile.
    """

    uptime_s: float
    frames: int
    fps: float
    latency_ms: LatencyMs | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """How durations were spread since the start.

    counts  in each bucket of BOUNDS_S, and beyond the last of them
    sum_s   of all of them, seconds
    """

    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Since the start.

    latency         from the source to the counts
    stages          by stage of the pipeline
    alert_events    by step ("raise", ...) and severity
    prompt_changes  how often another prompt list came into use
    latest          the newest frame's result, None before the first one
    """

    frames: int
    latency: Distribution
    stages: Mapping[str, Distribution]
    alert_events: Mapping[tuple[str, str], int]
    prompt_changes: int
    latest: FrameResult | None


class _Histogram:
    """Not thread-safe: the meter's lock is around it."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def read(self) -> Distribution:
        return Distribution(tuple(self._counts), self._sum_s)


class FrameMeter:
    """Counted by the frame loop; `read` belongs to one other thread, `totals` to any.

    `clock` gives seconds that pass, and that frames are stamped with.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._frames = 0
        self._latencies_ms: list[float] = []
        self._began = self._since = clock()
        self._latency = _Histogram()
        self._stages = {field.name: _Histogram() for field in fields(StageSeconds)}
        self._alert_events: Counter[tuple[str, str]] = Counter()
        self._prompt_changes = 0
        self._latest: FrameResult | None = None

    @property
    def frames(self) -> int:
        """Frames since the start."""
        return self._frames

    def take(self, result: FrameResult, transitions: Sequence[Transition]) -> None:
        """Count a frame that just came through the pipeline, and what it did to the alerts."""
        latency_s = max(0.0, self._clock() - result.frame.mono_ns / 1e9)
        with self._lock:
            self._frames += 1
            self._latencies_ms.append(latency_s * 1000)
            self._latency.add(latency_s)
            for name, histogram in self._stages.items():
                histogram.add(getattr(result.seconds, name))
            self._alert_events.update((each.kind, each.severity) for each in transitions)
            if self._latest is not None and self._latest.bank is not result.bank:
                self._prompt_changes += 1
            self._latest = result

    def totals(self) -> Totals:
        """The numbers since the start."""
        with self._lock:
            return Totals(
                frames=self._frames,
                latency=self._latency.read(),
                stages={name: histogram.read() for name, histogram in self._stages.items()},
                alert_events=dict(self._alert_events),
                prompt_changes=self._prompt_changes,
                latest=self._latest,
            )

    def read(self) -> Reading:
        """The numbers since the last reading."""
        with self._lock:
            latencies, self._latencies_ms = self._latencies_ms, []
            now = self._clock()
            elapsed, self._since = now - self._since, now
            frames = self._frames
        uptime_s = round(now - self._began, 3)
        fps = len(latencies) / elapsed if elapsed > 0 else 0.0
        if not latencies:
            return Reading(uptime_s, frames, fps, None)
        p50, p95, p99 = (float(value) for value in np.percentile(latencies, [50, 95, 99]).round(2))
        return Reading(uptime_s, frames, round(fps, 2), LatencyMs(p50=p50, p95=p95, p99=p99))
