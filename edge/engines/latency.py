"""Latency of image engines as trtexec reports it: warm-up first, copies included, percentiles."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from edge.engine_cache import Latency
from edge.engines.base import F32, U8, ImageEngine

#: How long each engine runs before anything counts, how long it is timed, and how often at least.
WARM_UP_S, SECONDS, LEAST_RUNS = 0.5, 3.0, 20


def time_engines(engines: Sequence[ImageEngine], image: U8, prompts: F32, bias: F32) -> list[Latency]:
    """Time `infer` on the same inputs, the engines in turn: heat and clocks then slow all of them alike.

    Args:
        engines: what to time; the result has their order.
        image, prompts, bias: see ImageEngine.infer.

    Raises EngineError.
    """
    for engine in engines:
        end = time.perf_counter() + WARM_UP_S
        while True:  # once at least
            engine.infer(image, prompts, bias)
            if time.perf_counter() >= end:
                break
    taken: list[list[float]] = [[] for _ in engines]
    while any(len(times) < LEAST_RUNS or sum(times) < SECONDS for times in taken):
        for engine, times in zip(engines, taken, strict=True):
            began = time.perf_counter()
            engine.infer(image, prompts, bias)
            times.append(time.perf_counter() - began)
    return [_latency(times) for times in taken]


def _latency(seconds: Sequence[float]) -> Latency:
    p50, p95, p99 = (float(value) for value in np.percentile(np.array(seconds) * 1e3, [50, 95, 99]))
    return Latency(p50=p50, p95=p95, p99=p99, runs=len(seconds))
