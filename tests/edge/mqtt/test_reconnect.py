"""Pauses between tries to reach a broker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.backoff import Backoff


@given(first=st.floats(0.01, 5), longest=st.floats(5, 600), tries=st.integers(1, 100), share=st.floats(0, 1))
def test_pauses_grow_stay_in_bounds_and_start_over_after_a_reset(
    first: float, longest: float, tries: int, share: float
) -> None:
    backoff = Backoff(first=first, longest=longest, draw=lambda low, high: low + share * (high - low))
    pauses = [backoff.next() for _ in range(tries)]
    assert first / 2 <= pauses[0] <= first
    assert pauses == sorted(pauses)
    assert pauses[-1] <= longest
    backoff.reset()
    assert backoff.next() == pauses[0]
    backoff.reset(min(tries - 1, 3))
    assert backoff.next() == pauses[min(tries - 1, 3)]


def test_pauses_of_two_drones_differ() -> None:
    one, other = Backoff(), Backoff()
    assert [one.next() for _ in range(5)] != [other.next() for _ in range(5)]
