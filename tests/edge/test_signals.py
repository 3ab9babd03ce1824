"""SIGINT and SIGTERM: the first asks to end, the second ends; SIGHUP reloads. In processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

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

RELOADING = """
import signal
from edge.signals import stopped_by_signals
asked = []
before = signal.getsignal(signal.SIGHUP)
with stopped_by_signals(asked.append):
    assert signal.getsignal(signal.SIGHUP) is before
with stopped_by_signals(asked.append, lambda: asked.append("reload")):
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert signal.getsignal(signal.SIGHUP) is before
print(*asked)
"""


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_asks_the_second_has_its_old_meaning_and_afterwards_all_is_as_before(
    number: signal.Signals,
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "as wanted\n"), done.stderr


def test_every_hangup_asks_for_a_reload_also_when_the_end_is_near() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RELOADING], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "reload reload SIGTERM reload\n"), done.stderr


def test_an_engine_leaves_signals_their_ordinary_stack(bundle_copy: Path) -> None:
    """OpenVINO's own alternate stack is too small for Python's handlers."""
    program = (
        "import ctypes, sys\n"
        "from edge.bundle.load import load_bundle\n"
        "from edge.engines import create_image_engine\n"
        "engine = create_image_engine(load_bundle(sys.argv[1]), 'openvino')\n"
        "stack = (ctypes.c_size_t * 3)()\n"
        "assert ctypes.CDLL(None).sigaltstack(None, stack) == 0\n"
        "print('disabled' if stack[1] & 2 else f'{stack[2]} bytes')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, bundle_copy], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "disabled\n"), done.stderr
