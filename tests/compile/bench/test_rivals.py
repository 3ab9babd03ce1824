"""What the daemon is compared with works as its users have it, with towers as small as a test needs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compile.bench.contenders import owlvit, remoteclip
from compile.bench.contenders.crops import tiles_of
from compile.bench.contenders.owlvit import OwlVitContender
from compile.bench.contenders.remoteclip import RemoteClipContender
from compile.bench.contenders.tower import TowerContender, prepared
from compile.bench.spec import FRAME, TILES, TILES_AT_ONCE, Setting
from firmware_cfg.errors import EngineError

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 32, "head_width": 16, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
SMALL_OWL = {
    "text_config": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    "vision_config": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    "projection_dim": 16,
}


@pytest.fixture
def setting(clip: Path, prompt_file: Path, tmp_path: Path) -> Setting:
    return Setting(str(clip), "default", str(prompt_file), str(tmp_path))


@pytest.fixture
def _small_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import training.torchvision_ops  # noqa: F401 - before open_clip imports torchvision

    import open_clip  # isort: skip

    (tmp_path / "small-vit.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(tmp_path / "small-vit.json")
    monkeypatch.setattr(remoteclip, "TOWER", "small-vit")


@pytest.mark.usefixtures("_small_tower")
def test_remoteclip_tells_of_a_picture_and_of_its_tiles(setting: Setting) -> None:
    contender = RemoteClipContender(setting)
    assert_tells_of_tiles(contender)


def test_the_exported_tower_tells_the_same_way(setting: Setting, tmp_path: Path) -> None:
    import onnx

    graph = """
        <ir_version: 10, opset_import: ["" : 20]>
        tower (float[batch, 3, 224, 224] image) => (float[batch, 3] embedding)
        <int64[2] sides = {2, 3}>
        { embedding = ReduceMean <keepdims = 0> (image, sides) }
    """
    onnx.save(onnx.parser.parse_model(graph), tmp_path / "tower.onnx")
    assert_tells_of_tiles(TowerContender(replace(setting, tower=str(tmp_path / "tower.onnx"))))


def assert_tells_of_tiles(contender: RemoteClipContender | TowerContender) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (72, 128, 3), np.uint8)
    tiles = contender.look_at_tiles(picture)
    assert contender.look(picture).shape == (1, 1)
    assert tiles.shape == (6, 1)
    np.testing.assert_allclose(contender.look_at_batch(picture), tiles, atol=1e-5)
    for task in (FRAME, TILES, TILES_AT_ONCE):
        samples = contender.burst(task, 2)
        assert len(samples["frame"]) == len(samples["cpu"]) == 2


def test_without_an_exported_tower_there_is_no_contender(setting: Setting) -> None:
    with pytest.raises(EngineError, match="was not exported"):
        TowerContender(setting)


def test_owlvit_gives_logits_and_boxes_of_cells(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owlvit, "CONFIG", SMALL_OWL)
    contender = OwlVitContender(setting)
    logits, boxes = contender.look(np.zeros((72, 128, 3), np.uint8))
    assert (logits.shape, boxes.shape) == ((576, 1), (576, 4))
    assert len(contender.burst(FRAME, 1)["frame"]) == 1


@pytest.mark.parametrize("size", [(1280, 720), (300, 501), (224, 224), (130, 77)])
def test_pictures_are_prepared_as_open_clip_does(size: tuple[int, int]) -> None:
    import training.torchvision_ops  # noqa: F401 - before torchvision

    from torchvision import transforms  # isort: skip

    from compile.bench.contenders.tower import MEAN, STD

    width, height = size
    random = np.random.default_rng(1)
    picture = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
    steps = [
        transforms.Resize(224, transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(MEAN.tolist(), STD.tolist()),
    ]
    np.testing.assert_allclose(prepared(picture), transforms.Compose(steps)(picture).numpy(), atol=1e-5)


def test_tiles_cover_a_picture_once() -> None:
    pixels = np.arange(37 * 50 * 3, dtype=np.uint32).astype(np.uint8).reshape(37, 50, 3)
    tiles = [np.asarray(tile) for tile in tiles_of(Image.fromarray(pixels))]
    assert len(tiles) == 6
    rows = [np.concatenate(tiles[start : start + 3], axis=1) for start in (0, 3)]
    assert (np.concatenate(rows, axis=0) == pixels).all()
