"""The parent's side of a worker: starts it, asks it, and ends it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any

from firmware_cfg.errors import RemoteclipError

PATIENCE_S = 600.0
"""An engine that has to be built first takes minutes."""
GOODBYE_S = 30.0


class BenchError(RemoteclipError):
    """A contender failed, or the benchmark cannot be set up."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM unwinds like Ctrl-C, so that no worker or broker is left behind. Main thread only."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Worker:
    """One child process. A context manager, or `close` it.

    Attributes:
        first: its first answer.
        start_s: seconds from the start of the process to that answer.
    """

    def __init__(self, asked: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Start it, and wait until it is ready. Raises BenchError when it ends or hangs instead."""
        self._log = TemporaryFile()  # noqa: SIM115 - open as long as the worker lives
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compile.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **environment, "PYTHONPATH": search_path()},
        )
        try:
            self.first = self.ask(asked)
        except BaseException:
            self.close()
            raise
        self.start_s = time.perf_counter() - began

    def ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """One answer. Raises BenchError with the worker's last words when none comes."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):  # it has ended: what it said last is found below
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        if not select.select([process.stdout], [], [], PATIENCE_S)[0]:
            raise BenchError(f"no answer within {PATIENCE_S:g} s{self._words()}")
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"ended with code {process.wait()}{self._words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it: kindly, then by force. May be called twice."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what it was never told
                    pipe.close()
        try:
            process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].strip()}" if lines else ""


def search_path() -> str:
    """PYTHONPATH of a child that is to run the very packages that run here."""
    root = str(Path(__file__).resolve().parent.parent.parent)
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
