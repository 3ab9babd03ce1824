"""A small data root with every format that training reads, drawn by the tests themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training import splits
from training.checkpoint import AnyCheckpoint, open_checkpoint, save_clip_checkpoint
from training.towers.clip import create_tower

PERSON, GRASS = (255, 22, 96), (0, 102, 0)
TRAIN = 3  # training images of every set, beside one validation and one test image
CAPTIONED = {"train": 5, "val": 2, "test": 3}


def drawn_picture(path: Path, seed: int, boxes: list[tuple[int, int, int, int]] = ()) -> None:
    """A textured 160 x 128 picture with a bright rectangle on every box."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(
        rng.integers(40, 170, (16, 20, 3), np.uint8), (160, 128), interpolation=cv2.INTER_CUBIC
    )
    for x1, y1, x2, y2 in boxes:
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), (240, 240, 235), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def box_of(seed: int) -> tuple[int, int, int, int]:
    x, y = 10 + 7 * (seed % 10), 20 + 5 * (seed % 7)
    return x, y, x + 24, y + 16


def _names() -> list[tuple[str, str, int]]:
    """(split folder, file stem, seed) of every image of an object set."""
    train = [("train", f"train_{i}", i) for i in range(TRAIN)]
    return [*train, ("train", "held_back", 50), ("test", "test_0", 60)]


def _coco(folder: Path) -> None:
    categories = [{"id": 3, "name": "ship"}, {"id": 7, "name": "plane"}, {"id": 9, "name": "DontCare"}]
    for split in ("train", "test"):
        images, annotations = [], []
        for number, (_, stem, seed) in enumerate(n for n in _names() if n[0] == split):
            x1, y1, x2, y2 = box_of(seed)
            drawn_picture(folder / "images" / f"{stem}.jpg", seed, [(x1, y1, x2, y2)])
            images.append({"id": number, "file_name": f"{stem}.jpg", "width": 160, "height": 128})
            box = {"image_id": number, "category_id": 3 + 4 * (seed % 2), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotations += [box, {"image_id": number, "category_id": 9, "bbox": [0, 0, 9, 9]}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"instances_{split}.json").write_text(json.dumps(document))


def _yolo(folder: Path) -> None:
    for split, stem, seed in _names():
        x1, y1, x2, y2 = box_of(seed)
        drawn_picture(folder / "images" / split / f"{stem}.png", 100 + seed, [(x1, y1, x2, y2)])
        file = folder / "labels" / split / f"{stem}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        fields = ((x1 + x2) / 320, (y1 + y2) / 256, (x2 - x1) / 160, (y2 - y1) / 128)
        file.write_text("0 " + " ".join(f"{field:.6f}" for field in fields) + "\n")
    (folder / "data.yaml").write_text("path: .\nnames:\n  0: vehicle\n")


def _masks(folder: Path) -> None:
    for split, stem, seed in _names():
        x1, y1, x2, y2 = box_of(seed)
        drawn_picture(folder / "images" / split / f"{stem}.jpg", 200 + seed, [(x1, y1, x2, y2)])
        mask = np.zeros((128, 160, 3), np.uint8)
        mask[96:] = GRASS[::-1]
        mask[y1:y2, x1:x2] = PERSON[::-1]
        file = folder / "masks" / split / f"{stem}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), mask)
    colours = {"unlabeled": (0, 0, 0), "person": PERSON, "grass": GRASS}
    lines = [f"{name}, {r}, {g}, {b}\n" for name, (r, g, b) in colours.items()]
    (folder / "class_dict.csv").write_text("name, r, g, b\n" + "".join(lines))


def _points(folder: Path) -> None:
    for split, stem, seed in _names():
        x1, y1, x2, y2 = box_of(seed)
        drawn_picture(folder / "images" / split / f"{stem}.jpg", 300 + seed, [(x1, y1, x2, y2)])
        file = folder / "points" / split / f"{stem}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"x,y\n{(x1 + x2) / 2},{(y1 + y2) / 2}\n")


def _captions(folder: Path) -> None:
    images = []
    for split, count in CAPTIONED.items():
        for i in range(count):
            name, label = f"{split}_{i}.jpg", ("Port", "Forest")[i % 2]
            drawn_picture(folder / "images" / name, 400 + len(images))
            raw = [
                f"{split} picture {i} shows a {label.lower()} .",
                f"a {label.lower()} from above , number {i} .",
            ]
            entry = {"filename": name, "split": split, "label": label}
            images.append({**entry, "sentences": [{"raw": text} for text in raw]})
    (folder / "dataset_caps.json").write_text(json.dumps({"images": images}))


def _class_folders(folder: Path) -> None:
    for number, name in enumerate(("beach", "SeaLake")):
        for i in range(2):
            drawn_picture(folder / name / f"{name}_{i}.jpg", 500 + 10 * number + i)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> AnyCheckpoint:
    """A checkpoint of two drawn CLIP towers, 24 wide, of two layers each."""
    folder = tmp_path_factory.mktemp("clip")
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"width": 32, "heads": 2, "layers": 2}
    (folder / "tiny.json").write_text(json.dumps({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}))
    torch.manual_seed(2)
    save_clip_checkpoint(folder / "c", create_tower(str(folder / "tiny.json")), "drawn", {}, "")
    return open_checkpoint(folder / "c")


@pytest.fixture(scope="session")
def built_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn data root: coco_set, yolo_set, mask_set, point_set, caps and folder_set; and split lists."""
    root = tmp_path_factory.mktemp("data")
    makers = {
        "coco_set": _coco,
        "yolo_set": _yolo,
        "mask_set": _masks,
        "point_set": _points,
        "caps": _captions,
        "folder_set": _class_folders,
    }
    for name, make in makers.items():
        (root / name).mkdir()
        make(root / name)
    lists = tmp_path_factory.mktemp("splits")
    for name, suffix in (("coco_set", "jpg"), ("yolo_set", "png"), ("mask_set", "jpg"), ("point_set", "jpg")):
        (lists / f"{name}.val.txt").write_text(splits.name_hash(Path(f"held_back.{suffix}")) + "\n")
    (root / "lists").symlink_to(lists)
    return root


@pytest.fixture(scope="module")
def synthetic_root(built_root: Path) -> Iterator[Path]:
    """The drawn data root, with its own split lists in use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "FOLDER", built_root / "lists")
        yield built_root


@pytest.fixture(scope="session")
def small_recipe() -> str:
    """A recipe (YAML) for the drawn data root: four steps on tiny crops."""
    return """\
model: remoteclip-lite0
object_sets:
  - {name: coco_set, format: coco, weight: 1.0, scale: [0.7, 1.4], licence: drawn,
     objects: {ship: [ship, boat], plane: [plane]}}
  - {name: yolo_set, format: yolo, weight: 1.0, scale: [0.7, 1.4], licence: drawn, thermal: true,
     objects: {vehicle: [vehicle]}}
  - {name: mask_set, format: colour_masks, weight: 1.0, scale: [0.7, 1.4], licence: drawn,
     objects: {person: [person]}, areas: {grass: [grass, lawn]}}
  - {name: point_set, format: points, weight: 1.0, scale: [0.7, 1.4], licence: drawn,
     objects: {point: [tree]}}
caption_sets:
  - {name: caps, licence: drawn, labels: {Port: [port], Forest: [forest]}}
templates: ["{}", "a {} seen from above"]
thermal_templates: ["a {} in thermal infrared"]
distractors: [elephant, giraffe, camel, penguin, whale, shark]
schedule: {steps: 4, warmup: 1, dense_batch: 3, dense_crop: 96, caption_batch: 3, caption_crop: 64,
           extra_captions: 4, learning_rate: 0.001, trunk_learning_rate: 0.0001, weight_decay: 0.02, ema: 0.9,
           evaluate_every: 2, save_every: 2, seed: 3, bfloat16: false}
"""
