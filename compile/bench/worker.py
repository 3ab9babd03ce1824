"""The child process of one subject: makes it ready, then does what it is asked, one line of JSON each way.

    python -m compile.bench.worker      (started by compile.bench.process, never by hand)

A process of its own gives each subject its own memory to measure, its own start-up, and thread pools that no
other library has set up. While another one's turn is on, it waits for a line and uses no processor.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, TextIO

from compile.bench.contenders.base import Contender
from compile.bench.spec import Setting, setting_of
from firmware_cfg.errors import RemoteclipError

_CLASSES = {
    "daemon": ("compile.bench.contenders.daemon", "DaemonContender"),
    "engine": ("compile.bench.contenders.engine", "EngineContender"),
    "remoteclip": ("compile.bench.contenders.remoteclip", "RemoteClipContender"),
    "tower": ("compile.bench.contenders.tower", "TowerContender"),
    "owlvit": ("compile.bench.contenders.owlvit", "OwlVitContender"),
    "ceiling": ("compile.bench.contenders.ceiling", "CeilingContender"),
}
ROWS = ("preprocessing", "vocabulary", "gpu")
"""Modules beside this one with a function `rows(rounds, note, setting)`."""


def memory_mib(status: Path = Path("/proc/self/status")) -> dict[str, float]:
    """`peak` and `now`, MiB of resident memory of this process; empty where the system does not tell."""
    try:
        text = status.read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    found = dict(re.findall(r"^(VmHWM|VmRSS):\s+(\d+) kB$", text, re.MULTILINE))
    return {
        name: round(int(found[key]) / 1024, 1)
        for name, key in (("peak", "VmHWM"), ("now", "VmRSS"))
        if key in found
    }


def make(kind: str, variant: str, setting: Setting) -> Contender:
    """The contender, ready. Raises RemoteclipError, or ImportError where a library is broken."""
    module, name = _CLASSES[kind]
    contender: Contender = getattr(importlib.import_module(module), name)(setting, variant)
    return contender


def rows(variant: str, rounds: int, setting: Setting) -> dict[str, Any]:
    """What one of ROWS has measured, and its notes."""
    notes: list[str] = []
    found = importlib.import_module(f"compile.bench.{variant}").rows(rounds, notes.append, setting)
    return {"rows": [row.as_json() for row in found], "notes": notes}


def export(setting: Setting, path: str) -> dict[str, Any]:
    """Write RemoteCLIP's tower to `path`."""
    from compile.bench.contenders.remoteclip import export_tower

    export_tower(setting.weights, path)
    return {}


def serve(asks: TextIO, answers: TextIO) -> None:
    """The first line says what to be; then bursts, until the lines end."""

    def answer(found: dict[str, Any]) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    first = json.loads(asks.readline())
    kind, variant = first["kind"], first["variant"]
    setting = setting_of(first["setting"])
    try:
        if kind == "rows":
            answer(rows(variant, first["rounds"], setting))
            return
        if kind == "export":
            answer(export(setting, first["path"]))
            return
        contender = make(kind, variant, setting)
    except (RemoteclipError, ImportError, OSError) as error:
        answer({"failed": " ".join(str(error).split())})
        return
    try:
        answer({"ready": True})
        for line in asks:
            ask = json.loads(line)
            samples = contender.burst(ask["task"], ask["frames"])
            answer({"samples": samples, "memory": memory_mib()})
    finally:
        contender.close()


def main() -> None:
    """Serve on stdin and stdout; whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
