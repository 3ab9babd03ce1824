"""OpenVINO comes without its telemetry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, sys
forks = []
os.register_at_fork(before=lambda: forks.append(1))
from edge.engines.openvino_import import openvino
print(len(forks), "openvino_telemetry" in sys.modules, bool(openvino.Core().available_devices))
"""


def test_it_neither_reports_nor_forks(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.split(), done.returncode) == (["0", "False", "True"], 0), done.stderr
