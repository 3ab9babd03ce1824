"""The native module for every supported interpreter that is found: built, loaded, of its own version."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_letterbox", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print("%d.%d" % sys.version_info[:2], module.kernel_name())
"""


def uv(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A finished uv, its output as text."""
    return subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_builds_and_its_module_loads(version: str, repository: Path, tmp_path: Path) -> None:
    found = uv("python", "find", "--no-python-downloads", version, folder=tmp_path)
    if found.returncode:
        pytest.skip(f"CPython {version} is not installed (uv python install {version})")
    python = found.stdout.strip()
    options = (
        "--wheel",
        "--python",
        python,
        "--out-dir",
        tmp_path,
        "--config-setting",
        "cmake.define.REMOTECLIP_CUDA=OFF",
    )
    built = uv("build", *options, repository, folder=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    tag = "cp" + version.replace(".", "")
    assert f"-{tag}-{tag}-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        (module,) = (name for name in archive.namelist() if name.startswith("edge/native/_letterbox"))
        archive.extract(module, tmp_path)
    said = subprocess.run(
        [python, "-c", LOAD, tmp_path / module], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.split()[0] == version
    assert said.stdout.split()[1].startswith("rows_")
