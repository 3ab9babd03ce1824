from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training.checkpoint import (
    CARD_FILE,
    METRICS_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    ModelSpec,
    load_checkpoint,
    load_state,
    save_checkpoint,
    save_state,
)
from training.errors import CheckpointError
from training.models.lite import LiteImageTower
from training.models.text import TextTower

SPEC = ModelSpec(1, "remoteclip-lite0", "tf_efficientnet_lite0", "all-MiniLM-L6-v2", 32, 24, "research only")


@pytest.fixture(scope="module")
def towers() -> tuple[LiteImageTower, TextTower]:
    torch.manual_seed(0)
    return LiteImageTower(32, 24, pretrained=False).eval(), TextTower(32).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, towers: tuple[LiteImageTower, TextTower]) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    save_checkpoint(folder, SPEC, *towers, {"validation": {"score": 0.25}}, "# card\n")
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy of the saved checkpoint that a test may damage; hard links, so that it costs nothing."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in saved.iterdir():
        os.link(file, folder / file.name)
    return folder


def replaced(file: Path, data: bytes) -> None:
    file.unlink()
    file.write_bytes(data)


@torch.inference_mode()
def test_what_is_loaded_is_what_was_saved_in_half_precision(
    saved: Path, towers: tuple[LiteImageTower, TextTower]
) -> None:
    found = load_checkpoint(saved)
    assert found.spec == SPEC
    assert found.metrics == {"validation": {"score": 0.25}}
    assert found.card == "# card\n"
    assert len(found.sha256) == 64
    for tower, loaded in zip(towers, (found.image, found.text), strict=True):
        expected, state = tower.state_dict(), loaded.state_dict()
        assert expected.keys() == state.keys()
        for name, value in expected.items():
            wanted = value.half().float() if value.is_floating_point() else value
            assert torch.equal(state[name], wanted), name
        assert not loaded.training
    assert sorted(file.name for file in saved.iterdir()) == sorted(
        [CARD_FILE, METRICS_FILE, MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE]
    )


def test_a_checkpoint_replaces_an_older_one(towers: tuple[LiteImageTower, TextTower], tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    for card in ("old", "new"):
        save_checkpoint(folder, SPEC, *towers, {}, card)
    assert load_checkpoint(folder).card == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_weights_that_half_precision_cannot_hold_are_not_written(
    saved: Path, towers: tuple[LiteImageTower, TextTower]
) -> None:
    image, text = towers
    before = image.logit_bias.data.clone()
    try:
        for value in (1e6, float("nan")):
            image.logit_bias.data.fill_(value)
            with pytest.raises(CheckpointError, match=r"not written: image\.logit_bias"):
                save_checkpoint(saved, SPEC, image, text, {}, "bad")
    finally:
        image.logit_bias.data.copy_(before)
    assert load_checkpoint(saved).card == "# card\n"


@pytest.mark.parametrize("name", [CARD_FILE, METRICS_FILE, MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: cannot be read: No such file"):
        load_checkpoint(copy)


def other_schema(folder: Path) -> None:
    document = json.loads((folder / MODEL_FILE).read_text())
    replaced(folder / MODEL_FILE, json.dumps({**document, "schema": 2}).encode())


def other_key(folder: Path) -> None:
    document = json.loads((folder / MODEL_FILE).read_text())
    replaced(folder / MODEL_FILE, json.dumps({**document, "colour": "red"}).encode())


def other_width(folder: Path) -> None:
    document = json.loads((folder / MODEL_FILE).read_text())
    replaced(folder / MODEL_FILE, json.dumps({**document, "embedding_width": 64}).encode())


def torn_weights(folder: Path) -> None:
    replaced(folder / WEIGHTS_FILE, (folder / WEIGHTS_FILE).read_bytes()[:100_000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: replaced(folder / MODEL_FILE, b"{"), r"model\.json: not JSON"),
        (lambda folder: replaced(folder / MODEL_FILE, b"[]"), r"model\.json: not a JSON object"),
        (lambda folder: replaced(folder / METRICS_FILE, b"\xff"), r"metrics\.json: not JSON"),
        (other_schema, r"model\.json: schema 2, this release reads 1"),
        (other_key, r"model\.json: not a model description .*colour"),
        (other_width, r"weights\.safetensors: not the weights of this release's remoteclip-lite0"),
        (torn_weights, r"weights\.safetensors: damaged"),
    ],
)
def test_a_damaged_file_is_named(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copy)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(copy)
    assert "\n" not in str(caught.value)


def test_a_runs_state_survives_a_round_trip_and_damage_is_named(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    save_state(file, {"step": 3, "weights": torch.arange(4)})
    assert load_state(file)["weights"].tolist() == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    for data in (b"", b"not a state", file.read_bytes()[:200]):
        file.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"state\.pt: damaged"):
            load_state(file)
