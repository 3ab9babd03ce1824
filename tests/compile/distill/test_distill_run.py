from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from compile.distill import run as module
from compile.distill.options import DistillOptions, Weights
from compile.distill.run import distill
from firmware_cfg.errors import UsageError
from training.checkpoint import load_checkpoint, load_state
from training.recipe import Recipe, load_recipe

QUIET = Console(quiet=True)
OPTIONS = DistillOptions(round=4, unlabelled=2)


def logged(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole_run(
    lite_teacher: Path, root: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    distill(lite_teacher, recipe, OPTIONS, root, out, False, QUIET, [root / "caps" / "images"])
    return out


def program(teacher: Path, root: Path, out: Path) -> list[str]:
    script = Path(__file__).with_name("run_distill.py")
    return [sys.executable, *map(str, (script, teacher, root, out, root / "caps" / "images"))]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


def test_a_run_leaves_answers_a_log_a_recipe_and_the_student(
    whole_run: Path, recipe: Recipe, lite_teacher: Path
) -> None:
    assert [entry["step"] for entry in logged(whole_run)] == [1, 2, 3, 4]
    for term in ("feature", "interactive", "affinity", "dense", "box", "focal", "area", "annotated_box"):
        assert all(math.isfinite(entry[term]) for entry in logged(whole_run)), term
    assert len(list((whole_run / "teacher").glob("step-*.npy"))) == 4
    assert load_recipe(whole_run / "recipe.json") == recipe
    student, teacher = load_checkpoint(whole_run / "checkpoint"), load_checkpoint(lite_teacher)
    assert student.spec.embedding_width == teacher.spec.embedding_width
    assert torch.equal(student.text.projection.weight, teacher.text.projection.weight)
    assert student.metrics["teacher"] == {"model": "remoteclip-lite0", "sha256": teacher.sha256}
    assert student.metrics["validation"]["n"] == {"cars": 1, "yard": 1, "caps": 2}
    assert f"weights sha256:{teacher.sha256}" in student.card
    assert "Unlabelled images: 7, 2 a step." in student.card


def test_a_run_killed_among_the_answers_and_again_while_it_learns_ends_the_same(
    whole_run: Path, lite_teacher: Path, root: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = program(lite_teacher, root, out)
    _killed_when([*command, "begin"], lambda: (out / "teacher" / "step-000001.npy").exists())
    answered = {file.name: file.stat().st_mtime_ns for file in (out / "teacher").glob("step-*.npy")}
    assert len(answered) >= 2
    _killed_when([*command, "resume"], lambda: (out / "state.pt").exists())
    distill(lite_teacher, recipe, OPTIONS, root, out, True, QUIET, [root / "caps" / "images"])
    kept = {name: (out / "teacher" / name).stat().st_mtime_ns for name in answered}
    assert kept == answered  # what the teacher had said it was not asked again
    for file in (whole_run / "teacher").glob("*.npy"):
        stored, wanted = np.load(out / "teacher" / file.name), np.load(file)
        for name in wanted.dtype.names or (...,):
            np.testing.assert_allclose(stored[name], wanted[name], atol=1e-2)
    assert [entry["step"] for entry in logged(out)] == [1, 2, 3, 4]
    found, expected = load_state(out / "state.pt"), load_state(whole_run / "state.pt")
    for part in ("model", "average", "optimizer"):
        torch.testing.assert_close(found[part], expected[part], rtol=1e-4, atol=1e-5)


def _killed_when(command: list[str], due: Callable[[], bool]) -> None:
    """Run until the condition holds, or the end where that is sooner, and kill -9 it there."""
    process = subprocess.Popen(command, env=environment())
    while process.poll() is None and not due():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_folder_with_a_run_is_taken_up_only_as_it_was(
    whole_run: Path, lite_teacher: Path, root: Path, recipe: Recipe
) -> None:
    images = [root / "caps" / "images"]
    with pytest.raises(UsageError, match=r"holds a run already .*--resume"):
        distill(lite_teacher, recipe, OPTIONS, root, whole_run, False, QUIET, images)
    other = OPTIONS.model_copy(update={"weights": Weights(dense=3)})
    with pytest.raises(UsageError, match="another teacher, other images or options"):
        distill(lite_teacher, recipe, other, root, whole_run, True, QUIET, images)


def test_another_students_run_may_use_the_answers_again(
    whole_run: Path, lite_teacher: Path, root: Path, recipe: Recipe, tmp_path: Path
) -> None:
    answers = whole_run / "teacher"
    before = {file.name: file.stat().st_mtime_ns for file in answers.glob("*.npy")}
    shorter = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"steps": 1})})
    options = DistillOptions(round=1, unlabelled=2, labels=False, weights=Weights(interactive=0, box=0))
    images = [root / "caps" / "images"]
    distill(lite_teacher, shorter, options, root, tmp_path / "run", False, QUIET, images, answers)
    assert {file.name: file.stat().st_mtime_ns for file in answers.glob("*.npy")} == before
    assert logged(tmp_path / "run")[0].keys() == {"step", "time", "feature", "affinity", "dense", "total"}
    with pytest.raises(UsageError, match="answers of another teacher, or to another recipe's crops"):
        distill(lite_teacher, shorter, options, root, tmp_path / "b", False, QUIET, [root], answers)


def test_a_student_comes_nearer_to_a_teacher_of_the_other_family(
    clip_teacher: Path, root: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """The same crops again and again, from the teacher alone: a student that learns must agree more."""
    schedule = recipe.schedule.model_copy(update={"steps": 12, "evaluate_every": 12, "save_every": 12})
    longer = recipe.model_copy(update={"schedule": schedule})
    options = DistillOptions(round=1, labels=False)
    distill(clip_teacher, longer, options, root, tmp_path / "run", False, QUIET)
    first, last = logged(tmp_path / "run")[0], logged(tmp_path / "run")[-1]
    assert last["feature"] < 0.7 * first["feature"]
    assert last["dense"] < 0.9 * first["dense"]
    assert "box" not in first


def test_a_student_that_went_off_the_numbers_is_told_where(
    lite_teacher: Path, root: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = recipe.schedule.model_copy(
        update={"learning_rate": 1e30, "trunk_learning_rate": 1e30, "warmup": 0}
    )
    with pytest.raises(module.RemoteclipError, match=r"step \d: the loss or its gradient is not a number"):
        distill(
            lite_teacher,
            recipe.model_copy(update={"schedule": wild}),
            DistillOptions(round=4),
            root,
            tmp_path / "run",
            False,
            QUIET,
        )
