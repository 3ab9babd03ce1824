"""Rates and latencies of an interval, and totals since the start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from edge.health.meter import BOUNDS_S, FrameMeter
from edge.pipeline import FrameResult, StageSeconds


def frame_of(mono_s: float) -> FrameResult:
    """A result of a frame that came at this time, as far as a meter looks at it."""
    facts = {"frame": SimpleNamespace(mono_ns=round(mono_s * 1e9)), "bank": None}
    return cast(FrameResult, SimpleNamespace(seconds=StageSeconds(0, 0, 0, 0, 0), **facts))


def test_a_reading_covers_the_time_since_the_one_before() -> None:
    now = [100.0]
    meter = FrameMeter(lambda: now[0])
    assert meter.read().latency_ms is None
    for latency in (0.010, 0.020, 0.030):
        meter.take(frame_of(now[0] - latency), ())
    now[0] = 102.0
    reading = meter.read()
    assert (reading.uptime_s, reading.frames, reading.fps) == (2.0, 3, 1.5)
    assert reading.latency_ms is not None
    assert reading.latency_ms.p50 == pytest.approx(20.0)
    assert 29.0 < reading.latency_ms.p99 <= 30.0
    now[0] = 103.0
    meter.take(frame_of(102.5), ())
    reading = meter.read()
    assert (reading.frames, reading.fps, reading.latency_ms and reading.latency_ms.p50) == (4, 1.0, 500.0)
    assert reading.uptime_s == 3.0


def test_no_time_passed_gives_no_rate() -> None:
    meter = FrameMeter(lambda: 5.0)
    meter.take(frame_of(4.9), ())
    assert meter.read().fps == 0.0


def test_totals_are_kept_beside_the_readings() -> None:
    meter = FrameMeter(lambda: 128.0)
    for latency in (-1.0, 0.00025, 0.03, 99.0):
        meter.take(frame_of(128.0 - latency), ())
    meter.read()
    totals = meter.totals()
    counts = dict(zip((*BOUNDS_S, None), totals.latency.counts, strict=True))
    assert {bound: number for bound, number in counts.items() if number} == {0.0005: 2, 0.05: 1, None: 1}
    assert totals.latency.sum_s == pytest.approx(99.03025)
    assert (totals.frames, totals.prompt_changes) == (4, 0)
