"""What is to be reached, and whether it was: the ratios and limits that this project promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from operator import sub, truediv
from typing import Any

from compile.bench.measured import Measured, Result
from compile.bench.spec import FLAT_OUT, FRAME, LABELS, TILES, TURN
from compile.bench.start_up import COUNT
from compile.bench.timing import Quartiles

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
    """One promise: `value` is to be at least, or at most, `limit`.

    `quartiles` are those of the rounds, where `value` is the median of what each round gave.
    """

    what: str
    value: float
    limit: float
    at_least: bool
    unit: str
    quartiles: tuple[float, float] | None = None

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


def ratios(result: Result, over: Result) -> list[float]:
    """How many times as long one takes as the other, by round; of typical times where no round is shared."""
    rounds = [a / b for a, b in zip(result.turns_ms, over.turns_ms, strict=False)]
    return rounds or [result.typical_ms / over.typical_ms]


def overhead_percent(daemon: Result, engine: Result) -> Quartiles:
    """The share of a frame's time that is not the engine's, had it the machine for itself."""
    return Quartiles.of([100 * (1 - ratio) for ratio in ratios(engine, daemon)])


def rest_percent(daemon: Result) -> float | None:
    """The share of a frame's time in which the daemon's engine stood still; None where it was not timed."""
    engine = daemon.spreads.get("stage engine")
    turns = daemon.spreads.get(TURN, daemon.frame)
    return None if engine is None else round(100 * (1 - engine.mean_ms / turns.mean_ms), 1)


def _speed(measured: Measured) -> Iterator[Target]:
    for clip, size in measured.clips.items():
        daemon = measured.find("daemon", FAST, FLAT_OUT, clip)
        if daemon is None or size != SMALL:
            continue
        for task, limit in ((TILES, PER_TILES), (FRAME, PER_FRAME)):
            if rival := measured.find("remoteclip", "", task, clip):
                what = f"{clip}: daemon int8 against RemoteCLIP, {task}"
                yield _of_rounds(what, Quartiles.of(ratios(rival, daemon)), limit, True, "x")
        if engine := measured.find("engine", f"openvino {FAST}", FRAME, clip):
            what = f"{clip}: outside the engine, of a frame's time"
            yield _of_rounds(what, overhead_percent(daemon, engine), MOST_OVERHEAD, False, "%")


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
    tasks: dict[str, dict[str, list[float]]] = {}
    for rows in measured.rows.values():
        for row in rows:
            tasks.setdefault(row["task"], {})[row["with"]] = row["rounds_ms"]
    for task, times in tasks.items():
        if not task.startswith(("I420", "NV12")) or "native" not in times:
            continue
        if "opencv" in times and (SMALL in task or LARGE in task):
            compared = _by_round(truediv, times["opencv"], times["native"])
            yield _of_rounds(f"{task}: native against OpenCV", compared, PREPROCESSING, True, "x")
        if "memcpy" in times and LARGE in task:
            compared = _by_round(truediv, times["native"], times["memcpy"])
            yield _of_rounds(f"{task}: native against a copy", compared, MOST_OF_COPY, False, "x")
    dense, lookup = tasks.get("dense prompts", {}), tasks.get("lookup of 300 places", {})
    if {"10", "256"} <= dense.keys():
        more = _by_round(sub, dense["256"], dense["10"])
        yield _of_rounds("256 dense prompts, over 10", more, MOST_FOR_256_MS, False, "ms")
    if "1000" in lookup:
        taken = Quartiles.of(lookup["1000"])
        yield _of_rounds("1,000 prompts on 300 places", taken, MOST_LOOKUP_MS, False, "ms")


def _by_round(compare: Callable[[float, float], float], ms: list[float], other_ms: list[float]) -> Quartiles:
    return Quartiles.of([compare(a, b) for a, b in zip(ms, other_ms, strict=True)])


def _of_rounds(what: str, found: Quartiles, limit: float, at_least: bool, unit: str) -> Target:
    return Target(what, found.median, limit, at_least, unit, (found.low, found.high))
