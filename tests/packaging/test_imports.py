"""What the drone's code imports: never torch or onnx, even on a machine that has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN = {
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "open_clip",
    "timm",
    "transformers",
    "training",
    "compile",
}

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import edge, firmware_cfg

def everything(package):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(("__main__", "._letterbox")):
            yield module.name

for name in [*everything(firmware_cfg), *everything(edge)]:
    importlib.import_module(name)
print("LOADED", *{name.partition(".")[0] for name in sys.modules})
"""

OWN_HELP = """
import sys
from edge import cli
sys.argv = ["remoteclip", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", *{name.partition(".")[0] for name in sys.modules})
"""


def modules_after(repository: Path, script: str, *arguments: str) -> set[str]:
    """Top-level modules that are loaded when the script ends, in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "LOADED"
    return set(last[1:])


def test_no_module_of_the_drone_imports_torch_or_onnx(repository: Path) -> None:
    loaded = modules_after(repository, IMPORT_EVERYTHING)
    assert {"edge", "firmware_cfg", "numpy"} <= loaded
    assert not loaded & FORBIDDEN


@pytest.mark.parametrize("command", ["run", "count", "check", "watch", "demo"])
def test_help_of_a_command_loads_nothing_heavy(repository: Path, command: str) -> None:
    loaded = modules_after(repository, OWN_HELP, command, "--help")
    assert "edge" in loaded
    assert not loaded & (FORBIDDEN | {"openvino", "onnxruntime", "cv2", "av"})
