from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from firmware_cfg.errors import UsageError
from training import pretrain as module
from training import splits
from training.checkpoint import load_checkpoint, load_state
from training.errors import CheckpointError
from training.models.lite import LiteImageTower
from training.models.text import TextTower
from training.objective import LitePretraining
from training.pretrain import make_optimizer, pretrain
from training.recipe import Recipe, load_recipe

STEPS = 4  # of the small recipe, which evaluates and saves every 2


@pytest.fixture(scope="module")
def recipe(small_recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    file = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    file.write_text(small_recipe)
    return load_recipe(file)


@pytest.fixture(scope="module")
def console() -> Console:
    return Console(stderr=True, quiet=True)


@pytest.fixture(scope="module")
def whole_run(
    recipe: Recipe, synthetic_root: Path, console: Console, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    score = pretrain(recipe, synthetic_root, out, False, console)
    assert math.isfinite(score.score)
    assert set(score.count_error) == {"coco_set", "yolo_set", "mask_set", "point_set"}
    return out


def logged_steps(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_log_a_recipe_a_state_and_the_best_checkpoint(whole_run: Path, recipe: Recipe) -> None:
    assert logged_steps(whole_run) == [1, 2, 3, 4]
    assert Recipe.model_validate_json((whole_run / "recipe.json").read_text()) == recipe
    state = load_state(whole_run / "state.pt")
    assert state["step"] == STEPS
    assert [entry["step"] for entry in state["history"]] == [2, 4]
    best = max(state["history"], key=lambda entry: entry["score"])
    checkpoint = load_checkpoint(whole_run / "checkpoint")
    assert checkpoint.metrics == {"validation": best}
    assert state["best"] == best["score"]
    assert "| coco_set | 3 | ship, plane | drawn |" in checkpoint.card
    assert "| coco_set | 1 | " in checkpoint.card  # validation
    assert f"kept: step {best['step']}." in checkpoint.card


def test_the_frozen_part_stays_and_the_rest_learns(whole_run: Path) -> None:
    trained = load_state(whole_run / "state.pt")["model"]
    fresh = LiteImageTower(pretrained=True).trunk.state_dict()
    moved = {name: not torch.equal(trained[f"image.trunk.{name}"], value) for name, value in fresh.items()}
    assert not any(
        change for name, change in moved.items() if name.startswith(("stem", "blocks.0", "blocks.1"))
    )
    assert moved["blocks.5.1.conv_pw.weight"]
    assert not moved["blocks.5.1.conv_dw.weight"]


def test_a_run_killed_between_two_saves_continues_to_the_same_weights(
    whole_run: Path,
    recipe: Recipe,
    synthetic_root: Path,
    console: Console,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    step, taken = module._Loop._step, []

    def killed_in_the_last_step(*arguments: Any) -> dict[str, float]:
        if len(taken) == STEPS - 1:
            raise KeyboardInterrupt
        taken.append(step(*arguments))
        return taken[-1]

    with monkeypatch.context() as patch:
        patch.setattr(module._Loop, "_step", killed_in_the_last_step)
        with pytest.raises(KeyboardInterrupt):
            pretrain(recipe, synthetic_root, out, False, console)
    assert logged_steps(out) == [1, 2, 3]
    assert load_state(out / "state.pt")["step"] == 2
    with (out / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "ti')  # torn by the kill

    with pytest.raises(UsageError, match=r"holds a run already .*--resume"):
        pretrain(recipe, synthetic_root, out, False, console)
    slower = recipe.schedule.model_copy(update={"learning_rate": 0.5})
    with pytest.raises(UsageError, match="follows another recipe"):
        pretrain(recipe.model_copy(update={"schedule": slower}), synthetic_root, out, True, console)

    pretrain(recipe, synthetic_root, out, True, console)
    assert logged_steps(out) == [1, 2, 3, 4]
    found, expected = load_state(out / "state.pt"), load_state(whole_run / "state.pt")
    # One process, the same number of threads: equal but for the order of sums inside the kernels.
    for part in ("model", "average", "optimizer"):
        torch.testing.assert_close(found[part], expected[part], rtol=1e-4, atol=1e-5)
    assert found["step"] == expected["step"]
    for entry, wanted in zip(found["history"], expected["history"], strict=True):
        assert entry["step"] == wanted["step"]
        assert entry["score"] == pytest.approx(wanted["score"], abs=1e-3)
    assert load_checkpoint(out / "checkpoint").metrics["validation"]["step"] in (2, 4)


def test_resuming_a_finished_run_changes_nothing(
    whole_run: Path, recipe: Recipe, synthetic_root: Path, console: Console
) -> None:
    before = load_state(whole_run / "state.pt")
    pretrain(recipe, synthetic_root, whole_run, True, console)
    after = load_state(whole_run / "state.pt")
    assert logged_steps(whole_run) == [1, 2, 3, 4]
    assert after["history"] == before["history"]


def test_a_state_of_another_model_is_refused(
    recipe: Recipe, synthetic_root: Path, console: Console, tmp_path: Path
) -> None:
    torch.save({"model": {}, "average": {}, "optimizer": {}}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt: not the state of this model"):
        pretrain(recipe, synthetic_root, tmp_path, True, console)


def test_only_matrices_decay_and_the_trunk_learns_more_slowly(recipe: Recipe) -> None:
    image = LiteImageTower(32, 24, pretrained=False)
    image.trunk.freeze()
    model = LitePretraining(image, TextTower(32), module.ALONE)
    optimizer = make_optimizer(model, recipe.schedule)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    group_of = {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}
    assert group_of.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert group_of["image.trunk.head.0.weight"]["lr"] == recipe.schedule.trunk_learning_rate
    assert group_of["image.cell.weight"]["lr"] == recipe.schedule.learning_rate
    assert group_of["image.cell.weight"]["weight_decay"] == recipe.schedule.weight_decay
    assert group_of["image.cell.bias"]["weight_decay"] == 0
    assert group_of["image.logit_scale"]["weight_decay"] == 0
    assert "projection.weight" in group_of


def test_a_run_can_go_on_from_a_checkpoint(
    whole_run: Path, recipe: Recipe, synthetic_root: Path, console: Console, tmp_path: Path
) -> None:
    start = load_checkpoint(whole_run / "checkpoint")
    still = recipe.schedule.model_copy(update={"learning_rate": 1e-12, "trunk_learning_rate": 1e-12})
    folder = str(whole_run / "checkpoint")
    pretrain(
        recipe.model_copy(update={"start_from": folder, "schedule": still}),
        synthetic_root,
        tmp_path / "run",
        False,
        console,
    )
    after = load_checkpoint(tmp_path / "run" / "checkpoint")
    for name, value in start.image.named_parameters():
        assert torch.equal(value, after.image.get_parameter(name)), name
    assert torch.equal(start.text.projection.weight, after.text.projection.weight)


def test_a_checkpoint_of_another_model_is_no_start(
    whole_run: Path, recipe: Recipe, synthetic_root: Path, console: Console, tmp_path: Path
) -> None:
    other = recipe.model_copy(
        update={"model": "remoteclip-lite2", "start_from": str(whole_run / "checkpoint")}
    )
    with pytest.raises(CheckpointError, match="a remoteclip-lite0, the recipe trains remoteclip-lite2"):
        pretrain(other, synthetic_root, tmp_path / "run", False, console)


def test_two_processes_train_as_one_on_the_same_batches(
    small_recipe: str, synthetic_root: Path, repository: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        small_recipe.replace("dense_batch: 3", "dense_batch: 4").replace(
            "caption_batch: 3", "caption_batch: 2, box_captions: 2, freeze_batch_norm: true"
        )
    )
    outs = {count: tmp_path / f"by_{count}" for count in (1, 2)}
    for count, out in outs.items():
        script = [str(repository / "tests" / "training" / "run_lite.py")]
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if count > 1 else []
        arguments = [str(path) for path in (recipe, synthetic_root, out, splits.FOLDER)]
        environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *launcher, *script, *arguments], check=True, env=environment)
    curves = [
        [{k: v for k, v in json.loads(line).items() if k != "time"} for line in log.splitlines()]
        for log in ((out / "log.jsonl").read_text() for out in outs.values())
    ]
    assert [entry["step"] for entry in curves[0]] == [1, 2, 3, 4]
    for alone, shared in zip(*curves, strict=True):
        assert alone == pytest.approx(shared, rel=2e-4)
    alone, shared = (load_state(out / "state.pt")["average"] for out in outs.values())
    apart = torch.cat([(alone[name] - shared[name]).flatten() for name in alone]).double()
    # A step moves a weight by up to 1e-3, whatever its gradient: AdamW makes much of a gradient that is
    # nearly zero and that sums in another order turn.
    assert apart.abs().max() < 1e-3
    assert apart.square().mean().sqrt() < 1e-5


def test_processes_that_cannot_share_a_batch_are_refused(
    recipe: Recipe, synthetic_root: Path, console: Console, tmp_path: Path
) -> None:
    pair = replace(module.ALONE, count=2, device=torch.device("cpu"))
    with pytest.raises(UsageError, match="2 processes cannot share dense_batch of 3"):
        pretrain(recipe, synthetic_root, tmp_path / "run", False, console, pair)
    even = recipe.schedule.model_copy(update={"dense_batch": 4, "caption_batch": 4})
    with pytest.raises(UsageError, match="freeze_batch_norm"):
        pretrain(recipe.model_copy(update={"schedule": even}), synthetic_root, tmp_path, False, console, pair)


def test_boxes_alone_are_enough_to_train(
    small_recipe: str, synthetic_root: Path, console: Console, tmp_path: Path
) -> None:
    begin, _, rest = small_recipe.partition("object_sets:\n")
    coco_set, templates = rest.partition("  - {name: yolo_set")[0], rest[rest.index("templates:") :]
    text = begin + "object_sets:\n" + coco_set + templates
    for stated, wanted in (
        ("caption_batch: 3", "caption_batch: 0, box_captions: 2"),
        ("extra_captions: 4", "extra_captions: 2"),
        ("steps: 4", "steps: 2"),
    ):
        assert stated in text
        text = text.replace(stated, wanted)
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    out = tmp_path / "run"
    score = pretrain(load_recipe(file), synthetic_root, out, False, console)
    assert score.recall is None
    assert score.score == -score.count_error["coco_set"]
    assert all(json.loads(line)["caption"] > 0 for line in (out / "log.jsonl").read_text().splitlines())
    assert "not measured, no captioned images" in load_checkpoint(out / "checkpoint").card
