from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from compile.cli import app
from firmware_cfg.errors import UsageError
from training.checkpoint import load_checkpoint


def test_the_command_teaches_a_student_and_says_what_it_became(
    lite_teacher: Path, root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = ["distill", lite_teacher, "-o", out, "--recipe", root / "recipe.yaml", "--data", root]
    arguments += ["--steps", "1", "--no-labels", "--weight", "box=0", "--images", root / "caps" / "images"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--unlabelled", "1"], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"{out / 'checkpoint'}: validation mean recall " in result.stdout
    card = load_checkpoint(out / "checkpoint").card
    assert "lookup maps of 1 steps' crops, alone: the annotations above did not teach" in card
    assert "feature 2000, interactive 1, affinity 1, dense 1. " in card


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--weight", "size=1"], "no such loss"),
        (["--student", "remoteclip-lite9"], "unknown model"),
        (["--unlabelled", "4"], "--images FOLDER"),
    ],
)
def test_a_call_that_cannot_work_is_refused_before_anything_is_written(
    lite_teacher: Path, root: Path, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    call = ["distill", str(lite_teacher), "-o", str(tmp_path / "run"), "--data", str(root), *arguments]
    result = CliRunner().invoke(app, call)
    assert isinstance(result.exception, UsageError)
    assert problem in str(result.exception)
    assert not (tmp_path / "run").exists()
