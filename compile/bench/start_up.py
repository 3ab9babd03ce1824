"""How long `remoteclip count` takes from the start of its process to the first count."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from compile.bench.measured import StartUp
from compile.bench.process import PATIENCE_S, BenchError, search_path

COUNT = "remoteclip count"
_PROGRAM = "from edge.cli import main; main()"


def time_count(
    clip: Path, bundle: str, prompts: Path, environment: Mapping[str, str], starts: int
) -> StartUp:
    """Start it so often, each time until its first line. Raises BenchError where none comes."""
    command = [sys.executable, "-c", _PROGRAM, "count", str(clip), "--prompts", str(prompts)]
    seconds = [_first_line([*command, "--bundle", bundle, "--json"], environment) for _ in range(starts)]
    return StartUp(COUNT, seconds[0], min(seconds[1:]) if len(seconds) > 1 else None)


def _first_line(command: list[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment, "PYTHONPATH": search_path(), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        ready = select.select([process.stdout], [], [], PATIENCE_S)[0]
        line = process.stdout.readline() if ready else b""
        seconds = time.perf_counter() - began
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    if not line:
        raise BenchError(f"{COUNT}: no count came out of {command[4]}")
    return round(seconds, 3)
