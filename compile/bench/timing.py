"""Contenders that take turns, and what their times come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]

WARM_UP = 3
"""Untimed calls of each contender before its first timed one."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How n durations were spread, in milliseconds."""

    n: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float] | Seconds) -> Spread:
        """Of at least one duration in seconds. ValueError where there is none."""
        if not len(seconds):
            raise ValueError("no durations")
        p50, p95, p99 = (round(float(value) * 1e3, 4) for value in np.percentile(seconds, (50, 95, 99)))
        return cls(len(seconds), round(float(np.mean(seconds)) * 1e3, 4), p50, p95, p99)

    def as_json(self) -> dict[str, float | int]:
        """For the report."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one task. `ratio` is its median over that of the task's first contender."""

    task: str
    contender: str
    spread: Spread
    ratio: float

    def as_json(self) -> dict[str, float | int | str]:
        """For the report."""
        return {"task": self.task, "with": self.contender, **self.spread.as_json(), "ratio": self.ratio}


def take_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = WARM_UP
) -> dict[str, Seconds]:
    """Seconds of each call, by contender.

    All of them have a turn in each round, so that whatever else the machine does hits them alike.
    """
    for call in contenders.values():
        for _ in range(warm_up):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: np.array(values) for name, values in seconds.items()}


def rows_of(task: str, seconds: Mapping[str, Sequence[float] | Seconds]) -> list[Row]:
    """One row a contender, the first of which is what the others are compared with."""
    spreads = {name: Spread.of(values) for name, values in seconds.items()}
    first = next(iter(spreads.values())).p50_ms if spreads else 0.0
    return [
        Row(task, name, spread, round(spread.p50_ms / first, 3) if first else 1.0)
        for name, spread in spreads.items()
    ]
