"""How long `remoteclip count` takes from the start of its process to the first count."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile

from compile.bench.measured import StartUp
from compile.bench.process import PATIENCE_S, BenchError, search_path

COUNT = "remoteclip count"
_CACHE = "REMOTECLIP_CACHE"
_PROGRAM = "from edge.cli import main; main()"


def caches_in(work: Path) -> dict[str, str]:
    """The environment of all children: caches that are empty at first, and nothing from the hub."""
    return {_CACHE: str(work / "cache"), "HF_HUB_OFFLINE": "1"}


def own_cache_of(environment: Mapping[str, str], subject: str) -> dict[str, str]:
    """A folder that is empty at the subject's first start."""
    folder = Path(environment[_CACHE]) / "".join(char if char.isalnum() else "-" for char in subject)
    folder.mkdir(parents=True, exist_ok=True)
    return {_CACHE: str(folder)}


def time_count(
    clip: Path, bundle: str, prompts: Path, environment: Mapping[str, str], starts: int
) -> StartUp:
    """Start it so often, each time until its first line. Raises BenchError where none comes."""
    command = [sys.executable, "-c", _PROGRAM, "count", str(clip), "--prompts", str(prompts)]
    seconds = [_first_line([*command, "--bundle", bundle, "--json"], environment) for _ in range(starts)]
    return StartUp(COUNT, seconds[0], min(seconds[1:]) if len(seconds) > 1 else None)


def _first_line(command: list[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    log = TemporaryFile()  # noqa: SIM115 - closed below, after its last line was read
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
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
        with log:
            log.seek(0)
            words = log.read().decode(errors="replace").strip().splitlines()
    if not line:
        raise BenchError(
            f"{COUNT}: no count came out of {command[4]}{': ' + words[-1].strip() if words else ''}"
        )
    return round(seconds, 3)
