from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "timm", "transformers", "onnx", "sklearn")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--help"],
        ["train", "pretrain", "--help"],
        ["eval", "--help"],
        ["eval", "count", "--help"],
        ["eval", "accuracy", "--help"],
        ["compile", "--help"],
        ["compile", "bundle", "--help"],
    ],
)
def test_help_needs_no_extra(arguments: list[str], repository: Path) -> None:
    group, *rest = arguments
    module = {"train": "training.cli", "eval": "training.cli_eval", "compile": "compile.cli"}[group]
    code = (
        "import sys\n"
        f"from {module} import app\n"
        "try:\n"
        f"    app({rest!r}, prog_name='remoteclip {group}')\n"
        "finally:\n"
        f"    loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    assert not loaded, loaded\n"
    )
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: remoteclip" in done.stdout
