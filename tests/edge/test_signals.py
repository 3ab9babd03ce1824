"""SIGINT and SIGTERM: the first asks to end, the second ends."""

from __future__ import annotations

import signal

import pytest

from edge.signals import STOPPING, stopped_by_signals


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_asks_and_gives_the_second_its_old_meaning(number: signal.Signals) -> None:
    asked: list[str] = []
    came: list[int] = []
    previous = signal.signal(number, lambda number, frame: came.append(number))
    try:
        with stopped_by_signals(asked.append):
            signal.raise_signal(number)
            assert (asked, came) == ([number.name], [])
            signal.raise_signal(number)
            assert (asked, came) == ([number.name], [number])
    finally:
        signal.signal(number, previous)


@pytest.mark.parametrize("number", STOPPING)
def test_afterwards_the_old_handlers_are_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopped_by_signals(lambda reason: None):
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
