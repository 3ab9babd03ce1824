from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import resize_pos_embed
from torch import Tensor

from firmware_cfg.errors import UsageError
from training.towers.clip import ClipTowers, create_tower
from training.towers.spec import TOWERS, tower_config

Draw = Callable[[str], dict[str, Tensor]]
Pictures = Callable[[int, int], Tensor]
KINDS = ("vit", "resnet")


@pytest.fixture(scope="module")
def towers(drawn_state: Draw, tower_configs: dict[str, Path]) -> dict[str, ClipTowers]:
    found = {}
    for kind in KINDS:
        found[kind] = create_tower(str(tower_configs[kind])).eval()
        found[kind].model.load_state_dict(drawn_state(kind))
    return found


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_open_clips_own(kind: str, towers: dict[str, ClipTowers], pictures: Pictures) -> None:
    tower = towers[kind]
    image = pictures(tower.image_size, tower.image_size)
    x = (image.permute(0, 3, 1, 2) / 255 - torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)) / (
        torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    )
    wanted = tower.model.encode_image(x, normalize=True)
    torch.testing.assert_close(tower.encode_image(image), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(tower.encode_image(image.float()), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(tower.places(image).embedding, wanted, atol=1e-5, rtol=0)
    texts = ["a photo of a harbour", "boats", "word " * 100]
    tokens = open_clip.SimpleTokenizer()(texts)
    wanted = tower.model.encode_text(tokens, normalize=True)
    torch.testing.assert_close(tower.encode_text(texts, batch=2), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(tower.encode_tokens(tokens), wanted, atol=1e-5, rtol=0)
    assert tower.encode_text([]).shape == (0, tower.embedding_width)


@torch.inference_mode()
def test_a_larger_image_is_read_as_open_clip_would_with_resized_positions(
    drawn_state: Draw, tower_configs: dict[str, Path], pictures: Pictures, tmp_path: Path
) -> None:
    state = drawn_state("vit")
    small = create_tower(str(tower_configs["vit"])).eval()
    small.model.load_state_dict(state)
    document = json.loads(tower_configs["vit"].read_text())
    document["vision_cfg"]["image_size"] = 48
    (tmp_path / "large.json").write_text(json.dumps(document))
    large = create_tower(str(tmp_path / "large.json")).eval()
    resized = dict(state)
    resize_pos_embed(resized, large.model)
    large.model.load_state_dict(resized)
    image = pictures(48, 48)
    torch.testing.assert_close(small.encode_image(image), large.encode_image(image), atol=1e-5, rtol=0)
    torch.testing.assert_close(small.dense(image), large.dense(image), atol=1e-5, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_cells_lie_where_their_pixels_lie(
    kind: str, towers: dict[str, ClipTowers], pictures: Pictures
) -> None:
    tower = towers[kind]
    image = pictures(3 * tower.stride, 5 * tower.stride)
    cells = tower.dense(image)
    assert cells.shape == (2, tower.embedding_width, 3, 5)
    torch.testing.assert_close(cells.norm(dim=1), torch.ones(2, 3, 5))
    torch.testing.assert_close(tower.places(image).cell, cells)
    altered = image.clone()
    altered[:, -tower.stride // 4 :, -tower.stride // 4 :] = 255  # in the lower right cell
    moved = (tower.dense(altered) - cells).norm(dim=1).mean(dim=0)
    assert divmod(int(moved.argmax()), 5) == (2, 4)


@torch.inference_mode()
def test_a_resnets_cells_are_what_its_attention_pools(
    towers: dict[str, ClipTowers], pictures: Pictures
) -> None:
    """Where every cell says the same, their weighted mean, the image's embedding, is each of them."""
    tower = copy.deepcopy(towers["resnet"])
    tower.model.visual.attnpool.positional_embedding.zero_()
    for parameter in tower.model.visual.layer4.parameters():
        parameter.zero_()
    tower.model.visual.layer4[-1].bn3.bias.copy_(
        torch.linspace(0, 1, len(tower.model.visual.layer4[-1].bn3.bias))
    )
    image = pictures(64, 96)
    wanted = tower.encode_image(image)[:, :, None, None].expand(-1, -1, 2, 3)
    torch.testing.assert_close(tower.dense(image), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 32, 36, 3), (32, 32, 3)])
def test_an_image_off_the_grid_is_refused(shape: tuple[int, ...], towers: dict[str, ClipTowers]) -> None:
    with pytest.raises(ValueError, match=r"sides that are multiples of 8, not \("):
        towers["vit"].encode_image(torch.zeros(shape))


def test_the_known_towers_have_the_published_shapes() -> None:
    shapes = {}
    for name in TOWERS:
        known, config = tower_config(name)
        assert known == name
        shapes[name] = (config.embed_dim, config.vision_cfg.image_size, config.vision_cfg.stride)
    assert shapes == {
        "RN50": (1024, 224, 32),
        "ViT-B-32": (512, 224, 32),
        "ViT-B-16": (512, 224, 16),
        "ViT-L-14": (768, 224, 14),
    }


def with_timm(document: dict[str, object]) -> dict[str, object]:
    return {**document, "vision_cfg": {"timm_model_name": "resnet18"}}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ViT-Z-99", None, r"ViT-Z-99: unknown tower \(known: RN50, ViT-B-32"),
        ("none.json", None, r"none\.json: cannot be read: No such file"),
        ("bad.json", "{", r"bad\.json: not JSON"),
        (
            "timm.json",
            '{"embed_dim": 8, "vision_cfg": {"timm_model_name": "a"}, "text_cfg": {}}',
            "timm_model_name",
        ),
    ],
)
def test_a_name_that_is_no_tower_is_refused(
    name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    if name.endswith(".json"):
        name = str(tmp_path / name)
        if text is not None:
            Path(name).write_text(text)
    with pytest.raises(UsageError, match=message):
        create_tower(name)


def test_a_config_that_states_its_activation_is_not_overruled(
    tower_configs: dict[str, Path], tmp_path: Path
) -> None:
    document = {**json.loads(tower_configs["vit"].read_text()), "quick_gelu": False}
    (tmp_path / "gelu.json").write_text(json.dumps(document))
    assert create_tower(str(tmp_path / "gelu.json")).spec.quick_gelu is False
    with pytest.raises(UsageError, match=r"gelu\.json: says quick_gelu: false"):
        create_tower(str(tmp_path / "gelu.json"), quick_gelu=True)


def test_an_image_of_floats_needs_no_rounding(towers: dict[str, ClipTowers]) -> None:
    image = torch.full((1, 32, 32, 3), 100.25)
    found = towers["vit"].normalise(image)[0, :, 0, 0].tolist()
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    np.testing.assert_allclose(found, (100.25 / 255 - np.array(mean)) / np.array(std), atol=1e-6)
