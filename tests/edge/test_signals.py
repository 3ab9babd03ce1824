"""SIGINT and SIGTERM: the first asks to end, the second ends. Each in a process of its own, as in the field."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from edge.signals import STOPPING

PROGRAM = """
import signal, sys
from edge.signals import stopped_by_signals
number = signal.Signals(int(sys.argv[1]))
asked, came = [], []
signal.signal(number, lambda number, frame: came.append(number))
before = signal.getsignal(number)
with stopped_by_signals(asked.append):
    assert signal.getsignal(number) is not before
    signal.raise_signal(number)
    assert (asked, came) == ([number.name], []), (asked, came)
    signal.raise_signal(number)
    assert (asked, came) == ([number.name], [number]), (asked, came)
assert signal.getsignal(number) is before
with stopped_by_signals(asked.append):
    pass
assert signal.getsignal(number) is before
print("as wanted")
"""


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_asks_the_second_has_its_old_meaning_and_afterwards_all_is_as_before(
    number: signal.Signals,
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "as wanted\n"), done.stderr
