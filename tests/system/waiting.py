"""Patience with a busy machine before a test fails."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT = 120.0  # seconds; no expectation


def until(condition: Callable[[], bool]) -> bool:
    """Polls; the caller asserts the result, so a condition that never holds fails the test."""
    deadline = time.monotonic() + WAIT
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
