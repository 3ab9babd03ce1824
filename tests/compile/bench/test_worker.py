"""A worker answers line by line; one that ends or cannot start says why."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from compile.bench import worker
from compile.bench.contenders.base import Samples
from compile.bench.process import BenchError, Worker, ended_by_sigterm
from compile.bench.spec import Setting, Subject, request, setting_of
from firmware_cfg.errors import MissingExtra

SETTING = Setting("clip.mp4", "default", "prompts.yaml", "/work", image_size=(640, 384))


class Fake:
    """A contender whose frames take as many seconds as there are of them."""

    closed = False

    def burst(self, task: str, frames: int) -> Samples:
        return {"frame": [float(frames)] * frames}

    def close(self) -> None:
        Fake.closed = True


def served(*asked: dict[str, Any]) -> list[dict[str, Any]]:
    answers = io.StringIO()
    worker.serve(io.StringIO("".join(json.dumps(ask) + "\n" for ask in asked)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_bursts_are_answered_until_the_lines_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "make", lambda kind, variant, setting: Fake())
    ready, burst = served(request(Subject("daemon", "int8", ()), SETTING), {"task": "a frame", "frames": 2})
    assert ready == {"ready": True}
    assert burst["samples"] == {"frame": [2.0, 2.0]}
    assert Fake.closed


def test_what_cannot_run_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(kind: str, variant: str, setting: Setting) -> Fake:
        raise MissingExtra("torch", "train")

    monkeypatch.setattr(worker, "make", make)
    (answer,) = served(request(Subject("remoteclip", "", ()), SETTING))
    assert "remoteclip-edge[train]" in answer["failed"]


def test_a_setting_comes_back_from_json() -> None:
    fields = json.loads(json.dumps(request(Subject("daemon", "int8", ()), SETTING)))["setting"]
    assert setting_of(fields) == SETTING


def test_memory_is_the_kernels_account(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
    assert worker.memory_mib(status) == {"peak": 2.0, "now": 1.0}
    assert worker.memory_mib(tmp_path / "missing") == {}


def test_a_worker_that_dies_leaves_its_last_words() -> None:
    with pytest.raises(BenchError, match="ended with code 1: KeyError: 'nobody'"):
        Worker(request(Subject("nobody", "", ()), SETTING), {})


def test_sigterm_unwinds_and_leaves_the_handler_as_it_was() -> None:
    def be_ended() -> None:
        with ended_by_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)  # the signal comes before this is over

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        be_ended()
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
