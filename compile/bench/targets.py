"""What is to be reached, and whether it was: the ratios and limits that this project promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from compile.bench.measured import Measured, Result
from compile.bench.spec import FLAT_OUT, FRAME, LABELS, TILES
from compile.bench.start_up import COUNT

PER_TILES, PER_FRAME = 25.0, 5.0
MOST_OVERHEAD = 20.0
MOST_MIB = 350.0
MOST_START_S = 2.0
PREPROCESSING, MOST_OF_COPY = 3.0, 2.0
MOST_FOR_256_MS, MOST_LOOKUP_MS = 5.0, 2.0
FAST = "int8"
"""The variant that the promises are made of."""
SMALL, LARGE = "1280x720", "3840x2160"


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: `value` is to be at least, or at most, `limit`."""

    what: str
    value: float
    limit: float
    at_least: bool
    unit: str

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "met": self.met}


def targets(measured: Measured) -> list[Target]:
    """Those that this run can tell of."""
    return [*_speed(measured), *_memory(measured), *_start(measured), *_rows(measured)]


def overhead_percent(daemon: Result, engine: Result) -> float:
    """The share of a frame's time that is not the engine's, had it the machine for itself."""
    return round(100 * (1 - engine.typical_ms / daemon.typical_ms), 1)


def rest_percent(daemon: Result) -> float | None:
    """The share of a frame's time in which the daemon's engine stood still; None where it was not timed."""
    engine = daemon.spreads.get("stage engine")
    return None if engine is None else round(100 * (1 - engine.mean_ms / daemon.typical_ms), 1)


def _speed(measured: Measured) -> Iterator[Target]:
    for clip, size in measured.clips.items():
        daemon = measured.find("daemon", FAST, FLAT_OUT, clip)
        if daemon is None or size != SMALL:
            continue
        for task, limit in ((TILES, PER_TILES), (FRAME, PER_FRAME)):
            if rival := measured.find("remoteclip", "", task, clip):
                ratio = round(rival.typical_ms / daemon.typical_ms, 2)
                yield Target(f"{clip}: daemon int8 against RemoteCLIP, {task}", ratio, limit, True, "x")
        if engine := measured.find("engine", f"openvino {FAST}", FRAME, clip):
            percent = overhead_percent(daemon, engine)
            yield Target(f"{clip}: outside the engine, of a frame's time", percent, MOST_OVERHEAD, False, "%")


def _memory(measured: Measured) -> Iterator[Target]:
    for result in measured.results:
        if (result.kind, result.variant, result.task) == ("daemon", FAST, FLAT_OUT) and result.memory:
            peak = result.memory["peak"]
            yield Target(f"{result.clip}: daemon int8, peak resident memory", peak, MOST_MIB, False, "MiB")


def _start(measured: Measured) -> Iterator[Target]:
    for start in measured.start_ups:
        if start.subject in (LABELS["daemon", FAST], COUNT) and start.warm_s is not None:
            what = f"{start.subject}: start to first count, warm caches"
            yield Target(what, start.warm_s, MOST_START_S, False, "s")


def _rows(measured: Measured) -> Iterator[Target]:
    tasks: dict[str, dict[str, float]] = {}
    for rows in measured.rows.values():
        for row in rows:
            tasks.setdefault(row["task"], {})[row["with"]] = row["p50_ms"]
    for task, times in tasks.items():
        if not task.startswith(("I420", "NV12")) or "native" not in times:
            continue
        if "opencv" in times and (SMALL in task or LARGE in task):
            ratio = round(times["opencv"] / times["native"], 2)
            yield Target(f"{task}: native against OpenCV", ratio, PREPROCESSING, True, "x")
        if "memcpy" in times and LARGE in task:
            ratio = round(times["native"] / times["memcpy"], 2)
            yield Target(f"{task}: native against a copy", ratio, MOST_OF_COPY, False, "x")
    dense, lookup = tasks.get("dense prompts", {}), tasks.get("lookup of 300 places", {})
    if {"10", "256"} <= dense.keys():
        more = round(dense["256"] - dense["10"], 2)
        yield Target("256 dense prompts, over 10", more, MOST_FOR_256_MS, False, "ms")
    if "1000" in lookup:
        yield Target("1,000 prompts on 300 places", round(lookup["1000"], 2), MOST_LOOKUP_MS, False, "ms")
