"""`remoteclip train pretrain` on shards, with towers of both families."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from firmware_cfg.errors import RemoteclipError
from training.checkpoint import Checkpoint, ClipCheckpoint, load_state, open_checkpoint
from training.cli import app
from training.errors import CheckpointError

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
RECIPE = """\
model: small.json
quick_gelu: true
schedule: {steps: 2, warmup: 1, batch: 8, learning_rate: 1.0e-3, precision: float32, evaluate_every: 2,
           save_every: 1}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.json").write_text(json.dumps(CONFIG))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


def pretrain(arguments: Sequence[object]) -> str:
    """What the command prints. Raises what it raised."""
    done = CliRunner().invoke(app, ["pretrain", *map(str, arguments)])
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.fixture(scope="module")
def first_run(recipe: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clip") / "run"
    said = pretrain([recipe, "--shards", shards, "--start-from", "scratch", "-o", out])
    assert said.startswith(f"{out / 'checkpoint'}: validation mean recall 0.")
    return out


def test_a_clip_tower_is_trained_and_stored(first_run: Path) -> None:
    checkpoint = open_checkpoint(first_run / "checkpoint")
    assert isinstance(checkpoint, ClipCheckpoint)
    assert checkpoint.spec.quick_gelu
    assert checkpoint.licence == "CC0-1.0"
    assert checkpoint.metrics["validation"]["images"] == 5
    assert "Initial weights: random; QuickGELU." in checkpoint.card
    trained = load_state(first_run / "state.pt")["towers"]
    weight = checkpoint.towers.state_dict()["model.visual.proj"]
    torch.testing.assert_close(weight, trained["model.visual.proj"], rtol=1e-3, atol=1e-4)  # stored in half


def test_a_run_goes_on_from_a_checkpoint_with_its_own_activation(
    first_run: Path, recipe: Path, shards: Path, tmp_path: Path
) -> None:
    folder = first_run / "checkpoint"
    pretrain([recipe, "--shards", shards, "--start-from", folder, "-o", tmp_path / "run"])
    started = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    stopped = json.loads((first_run / "log.jsonl").read_text().splitlines()[0])
    assert started["loss"] != stopped["loss"]
    other = recipe.with_name("gelu.yaml")
    other.write_text(RECIPE.replace("quick_gelu: true", "quick_gelu: false"))
    with pytest.raises(RemoteclipError, match="has the other activation"):
        pretrain([other, "--shards", shards, "--start-from", folder, "-o", tmp_path / "gelu"])
    other.write_text(RECIPE.replace("small.json", "RN50"))
    with pytest.raises(CheckpointError, match=r"checkpoint: a small, the recipe trains RN50"):
        pretrain([other, "--shards", shards, "--start-from", folder, "-o", tmp_path / "gelu"])


def test_a_light_tower_is_trained_and_stored(shards: Path, tmp_path: Path) -> None:
    file = tmp_path / "light.yaml"
    light = RECIPE.replace("small.json\nquick_gelu: true", f"remoteclip-lite0\nshards: {shards}")
    file.write_text(light.replace("steps: 2", "steps: 1").replace("batch: 8", "batch: 4"))
    pretrain([file, "--start-from", "scratch", "-o", tmp_path / "run"])
    checkpoint = open_checkpoint(tmp_path / "run" / "checkpoint")
    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.spec.licence == "CC0-1.0"
    assert "all-MiniLM-L6-v2 (Apache-2.0, frozen)" in checkpoint.card
