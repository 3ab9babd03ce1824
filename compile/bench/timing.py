"""Contenders that take turns, and what their times come to."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
    """One contender at one task.

    Attributes:
        ratio: its time over that of the task's first contender, the median of the rounds.
        rounds_ms: its time in each round, in the order of rounds.
    """

    task: str
    contender: str
    spread: Spread
    ratio: float
    rounds_ms: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        found = {"task": self.task, "with": self.contender, **self.spread.as_json(), "ratio": self.ratio}
        return {**found, "rounds_ms": list(self.rounds_ms)}


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Of what each round gave when two were compared within it.

    Turns of one round are seconds apart at most, medians of all turns minutes: where a machine has slow
    spells, only the former saw the same machine.
    """

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles:
        """Of at least one round's value, rounded to hundredths. ValueError where there is none."""
        if not values:
            raise ValueError("no rounds")
        return cls(*(round(float(value), 2) for value in np.percentile(values, (25, 50, 75))))


def take_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = WARM_UP
) -> dict[str, Seconds]:
    """Seconds of each call, by contender, in the order of rounds.

    All of them have a turn in each round, so that whatever else the machine does hits them alike; in another
    order each round, so that nobody always follows the one who leaves the caches worst.
    """
    for call in contenders.values():
        for _ in range(warm_up):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in random.Random(number).sample(tuple(contenders), len(contenders)):
            call = contenders[name]
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: np.array(values) for name, values in seconds.items()}


def rows_of(task: str, seconds: Mapping[str, Sequence[float] | Seconds]) -> list[Row]:
    """One row a contender, as many rounds each; the first is what the others are compared with."""
    first = np.asarray(next(iter(seconds.values()), ()))
    return [
        Row(
            task,
            name,
            Spread.of(values),
            round(float(np.median(np.asarray(values) / first)), 3),
            tuple(round(float(value) * 1e3, 4) for value in values),
        )
        for name, values in seconds.items()
    ]
