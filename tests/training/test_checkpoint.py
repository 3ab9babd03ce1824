from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from tokenizers import Tokenizer

from training.checkpoint import (
    CARD_FILE,
    METRICS_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Checkpoint,
    ClipCheckpoint,
    ModelSpec,
    Storage,
    load_checkpoint,
    load_state,
    open_checkpoint,
    save_checkpoint,
    save_clip_checkpoint,
    save_state,
)
from training.errors import CheckpointError
from training.models.lite import LiteImageTower
from training.models.text import TextTower
from training.towers.clip import ClipTowers, create_tower

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
            packaged = name.startswith("minilm.") or not value.is_floating_point()
            assert torch.equal(state[name], value if packaged else value.half().float()), name
        assert not loaded.training
    assert sorted(file.name for file in saved.iterdir()) == sorted(
        [CARD_FILE, METRICS_FILE, MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE]
    )


def test_a_text_encoder_is_stored_only_where_training_changed_it(
    saved: Path, towers: tuple[LiteImageTower, TextTower], tmp_path: Path
) -> None:
    image, text = towers[0], deepcopy(towers[1])
    changed = next(text.minilm.parameters())
    with torch.no_grad():
        changed.add_(0.5)
    save_checkpoint(tmp_path / "tuned", SPEC, image, text, {}, "# card\n")
    sizes = [(folder / WEIGHTS_FILE).stat().st_size for folder in (saved, tmp_path / "tuned")]
    assert sizes[1] - sizes[0] > 40e6  # 22.7 million weights of two bytes
    reloaded = next(load_checkpoint(tmp_path / "tuned").text.minilm.parameters())
    assert torch.equal(reloaded, changed.half().float())


@torch.inference_mode()
def test_a_half_precision_checkpoint_gives_the_same_figures_wherever_it_is_copied(
    saved: Path, tmp_path: Path
) -> None:
    first = load_checkpoint(saved)
    save_checkpoint(tmp_path / "again", SPEC, first.image, first.text, first.metrics, first.card)
    save_checkpoint(
        tmp_path / "wide", SPEC, first.image, first.text, first.metrics, first.card, storage="float32"
    )
    again, wide = load_checkpoint(tmp_path / "again"), open_checkpoint(tmp_path / "wide")
    assert again.sha256 == first.sha256
    assert isinstance(wide, Checkpoint)
    weights = [(folder / WEIGHTS_FILE).stat().st_size for folder in (saved, tmp_path / "wide")]
    assert weights[1] > 1.95 * weights[0]
    picture = torch.arange(64 * 96 * 3).reshape(1, 64, 96, 3).remainder(256).to(torch.uint8)
    tokens = torch.tensor([[101, 1037, 4049, 102]])
    for other in (again, wide):
        a, b = first.image(picture), other.image(picture)
        assert all(torch.equal(getattr(a, part), getattr(b, part)) for part in ("cell", "box", "embedding"))
        mask = torch.ones_like(tokens)
        assert torch.equal(first.text(tokens, mask), other.text(tokens, mask))


def test_a_checkpoint_of_the_larger_lite_model_loads(
    towers: tuple[LiteImageTower, TextTower], tmp_path: Path
) -> None:
    image = LiteImageTower(32, 24, pretrained=False, model="remoteclip-lite2").eval()
    spec = ModelSpec(
        1, "remoteclip-lite2", "tf_efficientnet_lite2", "all-MiniLM-L6-v2", 32, 24, "research only"
    )
    save_checkpoint(tmp_path / "lite2", spec, image, towers[1], {}, "")
    found = load_checkpoint(tmp_path / "lite2")
    assert found.spec == spec
    assert found.image.state_dict().keys() == image.state_dict().keys()


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


def other_model(folder: Path) -> None:
    document = json.loads((folder / MODEL_FILE).read_text())
    replaced(folder / MODEL_FILE, json.dumps({**document, "model": "remoteclip-lite9"}).encode())


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
        (other_model, r"model\.json: unknown model remoteclip-lite9 \(known: remoteclip-lite0"),
        (torn_weights, r"weights\.safetensors: damaged"),
    ],
)
def test_a_damaged_file_is_named(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copy)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(copy)
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers_are_named(copy: Path) -> None:
    state = load_file(copy / WEIGHTS_FILE)
    state["image.box.weight"][0, 0] = torch.nan
    replaced(copy / WEIGHTS_FILE, save(state))
    with pytest.raises(
        CheckpointError, match=r"weights\.safetensors: image\.box\.weight holds NaN or infinite"
    ):
        load_checkpoint(copy)


@pytest.fixture(scope="module")
def clip_towers(tmp_path_factory: pytest.TempPathFactory) -> ClipTowers:
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"width": 32, "heads": 2, "layers": 2},
    }
    file = tmp_path_factory.mktemp("config") / "tiny.json"
    file.write_text(json.dumps(config))
    torch.manual_seed(1)
    return create_tower(str(file)).eval()


@pytest.fixture(scope="module")
def clip_saved(tmp_path_factory: pytest.TempPathFactory, clip_towers: ClipTowers) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "checkpoint"
    save_clip_checkpoint(folder, clip_towers, "research only", {"validation": {"recall": 0.5}}, "# card\n")
    return folder


@pytest.fixture
def clip_copy(clip_saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_saved, tmp_path / "copy"))


@torch.inference_mode()
@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_clip_towers_survive_a_round_trip(storage: Storage, clip_towers: ClipTowers, tmp_path: Path) -> None:
    save_clip_checkpoint(tmp_path / "c", clip_towers, "research only", {"n": 3}, "# card\n", storage)
    found = open_checkpoint(tmp_path / "c")
    assert isinstance(found, ClipCheckpoint)
    assert (found.spec, found.licence, found.metrics, found.card) == (
        clip_towers.spec,
        "research only",
        {"n": 3},
        "# card\n",
    )
    assert not found.towers.training
    for name, value in found.towers.model.state_dict().items():
        wanted = clip_towers.model.state_dict()[name]
        assert torch.equal(value, wanted.half().float() if storage == "float16" else wanted), name
    texts = ["two boats", "a pier"]
    wanted = clip_towers.encode_text(texts)
    torch.testing.assert_close(found.towers.encode_text(texts), wanted, atol=2e-3, rtol=0)
    tokenizer = Tokenizer.from_file(str(tmp_path / "c" / TOKENIZER_FILE))
    tokens = [row.ids for row in tokenizer.encode_batch(["two boats"])]
    assert found.towers.tokenize(["two boats"]).tolist() == tokens
    save_clip_checkpoint(tmp_path / "again", found.towers, "research only", {}, "", storage)
    assert open_checkpoint(tmp_path / "again").sha256 == found.sha256


def test_a_clip_checkpoint_is_no_lite_checkpoint(clip_saved: Path, saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json: holds CLIP towers, not a remoteclip-lite model"):
        load_checkpoint(clip_saved)
    assert isinstance(open_checkpoint(saved), Checkpoint)


def clip_document(folder: Path, **changes: Any) -> None:
    document = json.loads((folder / MODEL_FILE).read_text())
    document["towers"].update(changes.pop("towers", {}))
    golden = changes.pop("golden", {})
    document["golden"] = None if golden is None else document["golden"] | golden
    (folder / MODEL_FILE).write_text(json.dumps(document))


def other_clip_weights(folder: Path) -> None:
    state = load_file(folder / WEIGHTS_FILE)
    state["visual.proj"] = -state["visual.proj"]
    save_file(state, folder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: clip_document(folder, towers={"quick_gelu": False}),
            r"model\.json: the towers do not compute their golden image embedding .*: GELU is not what",
        ),
        (
            other_clip_weights,
            r"model\.json: the towers do not compute their golden image .* the weights are others",
        ),
        (
            lambda folder: clip_document(folder, golden={"text": "AAAA"}),
            r"golden\.text is no embedding of 24",
        ),
        (lambda folder: clip_document(folder, golden={"image": "?"}), r"golden\.image is no embedding of 24"),
        (lambda folder: clip_document(folder, golden=None), "has no golden embeddings"),
        (
            lambda folder: clip_document(folder, towers={"quick_gelu": None}),
            r"towers\.quick_gelu: Input should be",
        ),
        (torn_weights, r"weights\.safetensors: damaged"),
    ],
)
def test_a_clip_checkpoint_that_computes_something_else_is_refused(
    clip_copy: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(clip_copy)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(clip_copy)
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
