from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firmware_cfg.errors import MissingExtra, UsageError
from training import errors
from training.cli_data import app
from training.data.recipe import DataRecipe

HEAVY = ("torch", "cv2", "numpy", "ray", "matplotlib", "webdataset")


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["inspect", "--help"]])
def test_help_needs_no_extra(arguments: list[str], repository: Path) -> None:
    code = (
        "import sys\n"
        "from training.cli_data import app\n"
        "try:\n"
        f"    app({arguments!r}, prog_name='remoteclip data')\n"
        "finally:\n"
        f"    loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: remoteclip data" in done.stdout


def test_build_then_inspect(faulty_root: Path, recipe_of: Callable[..., DataRecipe], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (extra: train) is not installed")
    recipe_of()
    out = str(tmp_path / "out")
    command = [
        "build",
        str(tmp_path / "recipe.yaml"),
        "-o",
        out,
        "--data",
        str(faulty_root),
        "--workers",
        "1",
    ]
    built = CliRunner().invoke(app, command)
    assert built.exit_code == 0, built.output
    assert "images by set" in built.stdout
    last = json.loads(built.stdout.splitlines()[-1])
    assert (last["train"], last["val"], last["duplicates"], last["leaks"], last["faulty"]) == (16, 3, 1, 1, 1)

    again = CliRunner().invoke(app, [*command, "--resume", "--json"])
    assert json.loads(again.stdout) == last

    seen = CliRunner().invoke(app, ["inspect", out, "--images", "5"])
    assert seen.exit_code == 0, seen.output
    document = json.loads(seen.stdout.splitlines()[-1])
    assert document["n"] == 16
    assert all(Path(picture).is_file() for picture in document["pictures"])
    assert Path(document["pictures"][0]).parent == tmp_path / "out" / "inspect"


def test_an_unknown_engine_and_a_missing_ray_are_told(
    faulty_root: Path, recipe_of: Callable[..., DataRecipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe_of()
    command = [
        "build",
        str(tmp_path / "recipe.yaml"),
        "-o",
        str(tmp_path / "out"),
        "--data",
        str(faulty_root),
    ]
    told = CliRunner().invoke(app, [*command, "--engine", "spark"])
    assert isinstance(told.exception, UsageError)
    assert str(told.exception) == "engine must be local or ray, got 'spark'"
    find = errors.importlib.util.find_spec
    monkeypatch.setattr(
        errors.importlib.util, "find_spec", lambda name: None if name == "ray" else find(name)
    )
    told = CliRunner().invoke(app, [*command, "--engine", "ray"])
    assert isinstance(told.exception, MissingExtra)
    assert "remoteclip-edge[ray]" in str(told.exception)
    assert not (tmp_path / "out").exists()
