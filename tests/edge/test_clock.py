"""Whether the clock is known to be right."""

from __future__ import annotations

import ctypes

import pytest

from edge import clock


@pytest.mark.parametrize(("state", "synced"), [(0, True), (4, True), (5, False), (-1, False)])
def test_the_kernels_answer_decides(monkeypatch: pytest.MonkeyPatch, state: int, synced: bool) -> None:
    def answer(buffer: ctypes.Array[ctypes.c_char]) -> int:
        assert buffer.raw[:4] == b"\0\0\0\0"  # modes: nothing is to be changed
        return state

    monkeypatch.setattr(clock, "_adjtimex", lambda: answer)
    assert clock.clock_is_synced() is synced


def test_without_the_system_call_the_clock_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_adjtimex", lambda: None)
    assert clock.clock_is_synced() is False
