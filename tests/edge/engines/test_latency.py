"""Timing: engines take turns, and nothing of the warm-up counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge.engines import latency


class Clocked:
    """An engine whose runs take so many ticks of a clock that only it moves."""

    def __init__(self, clock: list[float], log: list[str], name: str, ticks: list[float]) -> None:
        self._clock, self._log, self._name, self._ticks = clock, log, name, ticks

    def infer(self, *_: Any) -> None:
        self._log.append(self._name)
        self._clock[0] += self._ticks.pop(0) if len(self._ticks) > 1 else self._ticks[0]


def test_engines_take_turns_after_their_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = [0.0], []
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock[0])
    one = Clocked(clock, log, "a", [9.0, 0.010])  # the first run compiles, say
    other = Clocked(clock, log, "b", [0.5, 0.020])
    nothing = np.zeros(1)
    found = latency.time_engines([one, other], nothing, nothing, nothing)  # type: ignore[list-item,arg-type]
    assert log[:2] == ["a", "b"]
    assert log[2:6] == ["a", "b", "a", "b"]
    assert [round(item.p50, 6) for item in found] == [10, 20]
    assert [round(item.p99, 6) for item in found] == [10, 20]
    assert found[0].runs == found[1].runs >= latency.LEAST_RUNS
    assert found[0].runs * 0.010 >= latency.SECONDS - 0.010
