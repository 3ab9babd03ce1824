"""A drawn data root with one of every fault, and the recipe that reads it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from training.data.recipe import DataRecipe, load_data_recipe

RECIPE = """\
shards: {samples: 4, longest_side: 120}
sets:
  - {name: coco_set, captions: b2c, validation: {hashes: coco.val.txt}, licence: drawn, source: the tests,
     classes: {ship: [ship, boat], plane: [plane]}}
  - {name: drone, folder: yolo_set, format: yolo, captions: b2c, licence: drawn too, source: the tests}
  - {name: mask_set, captions: m2b+b2c, licence: drawn, source: the tests,
     classes: {person: [person]}, areas: {grass: [grass]}}
  - {name: point_set, captions: b2c, licence: drawn, source: the tests, classes: {point: [tree]}}
  - {name: caps, captions: captions, validation: {split: val}, licence: drawn, source: the tests}
evaluation:
  - {name: folder_set}
  - {name: caps, splits: [test]}
  - {name: coco_set, splits: [test]}
"""


@pytest.fixture(scope="module")
def faulty_root(built_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn data root with a truncated image, a near-duplicate across sets, a leak and a silent image."""
    root = tmp_path_factory.mktemp("faulty") / "data"
    shutil.copytree(built_root, root, symlinks=True)
    truncated = root / "coco_set" / "images" / "train_1.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-900])
    same = cv2.imread(str(root / "coco_set" / "images" / "train_0.jpg"))
    cv2.imwrite(str(root / "yolo_set" / "images" / "train" / "train_2.png"), same)
    shutil.copy(
        root / "folder_set" / "beach" / "beach_0.jpg", root / "mask_set" / "images" / "train" / "train_0.jpg"
    )
    (root / "point_set" / "points" / "train" / "train_0.csv").write_text("x,y\n")
    return root


@pytest.fixture
def recipe_of(tmp_path: Path) -> Callable[[str], DataRecipe]:
    """Reads the text of a recipe from a folder that has the list of coco_set's validation image."""
    (tmp_path / "coco.val.txt").write_text(hashlib.sha256(b"held_back.jpg").hexdigest()[:16] + "\n")

    def read(text: str = RECIPE) -> DataRecipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return load_data_recipe(path)

    return read
