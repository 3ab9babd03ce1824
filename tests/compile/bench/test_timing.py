"""Contenders take turns, and what their times come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compile.bench.timing import Spread, rows_of, take_turns


def test_contenders_take_turns_after_they_warmed_up() -> None:
    calls: list[str] = []
    seconds = take_turns({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2, warm_up=1)
    assert [set(calls[start : start + 2]) for start in (0, 2, 4)] == [{"a", "b"}] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_a_slow_spell_that_covers_whole_rounds_leaves_a_ratio_as_it_was() -> None:
    # Half as fast from the fourth round's second turn on: medians of all turns would say 4.
    ours, theirs = rows_of("task", {"ours": [1, 1, 1, 1, 2, 2, 2], "theirs": [2, 2, 2, 4, 4, 4, 4]})
    assert (ours.ratio, theirs.ratio) == (1.0, 2.0)


def test_ratios_are_over_the_first_contender() -> None:
    ours, theirs = rows_of("task", {"ours": [0.002], "theirs": [0.007]})
    assert (ours.ratio, theirs.ratio) == (1.0, 3.5)
    assert theirs.as_json() == {
        "task": "task",
        "with": "theirs",
        "n": 1,
        "mean_ms": 7.0,
        "p50_ms": 7.0,
        "p95_ms": 7.0,
        "p99_ms": 7.0,
        "ratio": 3.5,
        "rounds_ms": [7.0],
    }


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50))
def test_percentiles_lie_in_order_within_the_durations(seconds: list[float]) -> None:
    spread = Spread.of(seconds)
    low, high = min(seconds) * 1e3 - 1e-3, max(seconds) * 1e3 + 1e-3
    assert low <= spread.p50_ms <= spread.p95_ms <= spread.p99_ms <= high
    assert low <= spread.mean_ms <= high


def test_no_durations_have_no_spread() -> None:
    with pytest.raises(ValueError, match="no durations"):
        Spread.of([])
