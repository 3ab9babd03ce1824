"""`train rectify` as its user runs it: on a folder of pictures, with the shipped checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edge.prompts.rectification import Rectification
from firmware_cfg.errors import UsageError
from tests.training.conftest import drawn_picture
from training.checkpoint import load_checkpoint
from training.cli import app
from training.errors import DataError
from training.loop import STATE_FILE
from training.recipe import DEFAULT_CHECKPOINT
from training.rectify import run as module

PROMPTS = "prompts: [{id: car, text: a car}, {id: tree, text: [a tree, a bush]}]\nbackground: [bare ground]\n"
STEPS = 20


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures, with boxes in some, so that cells differ."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(6):
        boxes = [(20 * k, 30, 20 * k + 18, 60) for k in range(1 + seed)]
        drawn_picture(folder / f"{seed}.png", seed, boxes)
    return folder


@pytest.fixture
def rectify(pictures: Path, tmp_path: Path) -> Callable[..., Any]:
    """`rectify(out, *more, prompts=...)` runs the command."""

    def call(
        out: str,
        *more: str,
        prompts: str = PROMPTS,
        images: Path = pictures,
        size: tuple[str, ...] = ("--image-size", "256x256"),
    ) -> Any:
        listed = tmp_path / "prompts.yaml"
        listed.write_text(f"version: 1\n{prompts}")
        words = ["rectify", str(DEFAULT_CHECKPOINT), str(images), "--prompts", str(listed)]
        words += ["-o", str(tmp_path / out), "--steps", str(STEPS), *size, *more]
        return CliRunner().invoke(app, words, catch_exceptions=False)

    return call


def _rectification(run: Path) -> Rectification:
    found = load_checkpoint(run / "checkpoint").rectification
    assert found is not None
    return found


def test_a_run_that_was_killed_ends_as_one_that_was_not(
    rectify: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = rectify("whole")
    assert done.exit_code == 0
    assert "rectified on 6 images" in done.stdout

    save = module._Run.save

    def save_and_die(run: Any, file: Path) -> None:
        save(run, file)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Run, "save", save_and_die)
        rectify("killed")
    assert (tmp_path / "killed" / STATE_FILE).exists()
    assert not (tmp_path / "killed" / "checkpoint").exists()
    with pytest.raises(UsageError, match="--resume"):
        rectify("killed")
    with pytest.raises(UsageError, match="another recipe"):
        rectify("killed", "--resume", "--seed", "1")
    assert rectify("killed", "--resume").exit_code == 0
    whole, resumed = (_rectification(tmp_path / name) for name in ("whole", "killed"))
    assert np.array_equal(whole.weight, resumed.weight)
    assert np.array_equal(whole.offset, resumed.offset)


def test_the_checkpoint_says_what_it_learned_from_and_maps_are_drawn(
    rectify: Callable[..., Any], tmp_path: Path
) -> None:
    rectify("run", "--images", "4")
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint")
    trained = checkpoint.metrics["rectification"]
    assert trained["images"] == 4
    assert len(set(trained["images_sha256"])) == 4
    assert trained["held_out_loss"] <= trained["held_out_loss_before"]
    assert trained["r2_listed"] > 0.9
    assert "Learned without labels from 4 images" in checkpoint.card
    assert len(list((tmp_path / "run" / "maps").glob("*.png"))) == 4
    rectification = _rectification(tmp_path / "run")
    assert np.abs(rectification.weight).max() > 0
    assert json.loads((tmp_path / "run" / "checkpoint" / "metrics.json").read_text())


def test_the_maps_have_the_size_that_the_list_asks_for(rectify: Callable[..., Any], tmp_path: Path) -> None:
    rectify("run", "--steps", "0", prompts=f"image_size: [192, 128]\n{PROMPTS}", size=())
    assert load_checkpoint(tmp_path / "run" / "checkpoint").metrics["rectification"]["image_size"] == [
        192,
        128,
    ]


def test_without_steps_nothing_is_learned_and_that_is_told(
    rectify: Callable[..., Any], tmp_path: Path
) -> None:
    rectify("start", "--steps", "0", "--prior", "0")
    trained = load_checkpoint(tmp_path / "start" / "checkpoint").metrics["rectification"]
    assert trained["held_out_loss"] == trained["held_out_loss_before"]


@pytest.mark.parametrize(
    ("prompts", "problem"),
    [
        ("prompts: [{id: field, kind: scene, text: a field}, {id: car, text: a car}]\n", "scene prompt"),
        ("prompts: [{id: car, text: a car}]\n", "two prompts"),
    ],
)
def test_lists_that_have_no_maps_to_repair_are_refused(
    rectify: Callable[..., Any], tmp_path: Path, prompts: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        rectify("run", prompts=prompts)
    assert not (tmp_path / "run").exists()


def test_one_image_and_a_size_that_the_tower_does_not_take_are_refused(
    rectify: Callable[..., Any], tmp_path: Path
) -> None:
    drawn_picture(tmp_path / "one" / "0.png", 0)
    with pytest.raises(DataError, match="one image"):
        rectify("run", images=tmp_path / "one")
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        rectify("run", "--image-size", "256")
    with pytest.raises(UsageError, match="250"):
        rectify("run", "--image-size", "250x256")
    assert not (tmp_path / "run").exists()
