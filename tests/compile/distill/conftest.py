"""A drawn data root with a short recipe, and teachers of both families that answer at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training import splits
from training.checkpoint import SCHEMA, ModelSpec, save_checkpoint, save_clip_checkpoint
from training.models.lite import LiteImageTower
from training.models.text import TextTower
from training.recipe import Recipe, load_recipe
from training.towers.clip import create_tower

WIDTH = 24  # of the teachers' embeddings

_RECIPE = """\
model: remoteclip-lite0
object_sets:
  - {name: cars, format: yolo, weight: 1.0, scale: [0.7, 1.4], licence: drawn,
     objects: {vehicle: [vehicle, car]}}
  - {name: yard, format: colour_masks, weight: 1.0, scale: [0.7, 1.4], licence: drawn,
     objects: {person: [person]}, areas: {grass: [grass, lawn]}}
caption_sets:
  - {name: caps, licence: drawn, labels: {Port: [port], Forest: [forest]}}
templates: ["{}", "a {} seen from above"]
thermal_templates: ["a {} in thermal infrared"]
distractors: [elephant, giraffe, camel, penguin, whale, shark]
schedule: {steps: 4, warmup: 1, dense_batch: 3, dense_crop: 96, caption_batch: 3, caption_crop: 64,
           extra_captions: 4, learning_rate: 0.001, trunk_learning_rate: 0.0001, weight_decay: 0.02, ema: 0.9,
           evaluate_every: 4, save_every: 2, seed: 3, bfloat16: false}
"""


def _picture(path: Path, seed: int, box: tuple[int, int, int, int] | None = None) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 170, (16, 20, 3), np.uint8)
    image = cv2.resize(coarse, (160, 128), interpolation=cv2.INTER_CUBIC)
    if box is not None:
        cv2.rectangle(image, box[:2], box[2:], (240, 240, 235), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _cars(folder: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        _picture(folder / "images" / "train" / f"{name}.png", seed, (60, 40, 83, 55))
        label = folder / "labels" / "train" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.45 0.375 0.15 0.125\n")
    (folder / "data.yaml").write_text("path: .\nnames:\n  0: vehicle\n")


def _yard(folder: Path, names: list[str]) -> None:
    colours = {"unlabeled": (0, 0, 0), "person": (255, 22, 96), "grass": (0, 102, 0)}
    for seed, name in enumerate(names):
        _picture(folder / "images" / "train" / f"{name}.png", 50 + seed, (30, 20, 40, 30))
        mask = np.zeros((128, 160, 3), np.uint8)
        mask[96:] = colours["grass"][::-1]
        mask[20:31, 30:41] = colours["person"][::-1]
        file = folder / "masks" / "train" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), mask)
    rows = [f"{name}, {r}, {g}, {b}" for name, (r, g, b) in colours.items()]
    (folder / "class_dict.csv").write_text("\n".join(["name, r, g, b", *rows]) + "\n")


def _captions(folder: Path) -> None:
    images = []
    for split, count in (("train", 5), ("val", 2)):
        for i in range(count):
            name, label = f"{split}_{i}.png", ("Port", "Forest")[i % 2]
            _picture(folder / "images" / name, 100 + len(images))
            sentence = {"raw": f"{split} picture {i} shows a {label.lower()} ."}
            images.append({"filename": name, "split": split, "label": label, "sentences": [sentence]})
    (folder / "dataset_caps.json").write_text(json.dumps({"images": images}))


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root: cars, yard and caps, and `lists` with their split lists."""
    root = tmp_path_factory.mktemp("data")
    names = ["a", "b", "c", "held_back"]
    _cars(root / "cars", names)
    _yard(root / "yard", names)
    _captions(root / "caps")
    (root / "lists").mkdir()
    for name in ("cars", "yard"):
        (root / "lists" / f"{name}.val.txt").write_text(splits.name_hash(Path("held_back.png")) + "\n")
    (root / "recipe.yaml").write_text(_RECIPE)
    return root


@pytest.fixture(scope="module")
def root(drawn_data: Path) -> Iterator[Path]:
    """The data root with its own split lists in use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "FOLDER", drawn_data / "lists")
        yield drawn_data


@pytest.fixture(scope="session")
def recipe(drawn_data: Path) -> Recipe:
    """Four steps on tiny crops."""
    return load_recipe(drawn_data / "recipe.yaml")


@pytest.fixture(scope="session")
def lite_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a light model with ImageNet's trunk and drawn heads."""
    folder = tmp_path_factory.mktemp("teachers") / "lite"
    torch.manual_seed(11)
    image = LiteImageTower(WIDTH, 16)
    spec = ModelSpec(
        SCHEMA, "remoteclip-lite0", "tf_efficientnet_lite0", "all-MiniLM-L6-v2", WIDTH, 16, "drawn"
    )
    save_checkpoint(folder, spec, image, TextTower(WIDTH), {}, "a teacher")
    return folder


@pytest.fixture(scope="session")
def clip_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a tiny ViT with drawn weights: stride 16, native side 32."""
    folder = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": WIDTH,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16},
        "text_cfg": {"width": 32, "heads": 2, "layers": 2},
    }
    (folder / "tiny-vit.json").write_text(json.dumps(config))
    torch.manual_seed(12)
    towers = create_tower(str(folder / "tiny-vit.json")).eval()
    save_clip_checkpoint(folder / "checkpoint", towers, "drawn too", {}, "a teacher")
    return folder / "checkpoint"
