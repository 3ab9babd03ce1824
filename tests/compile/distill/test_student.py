"""A light student of a CLIP teacher: its checkpoint carries the teacher's text tower."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compile.distill.options import DistillOptions
from compile.distill.student import StudentWriter, starting_student
from compile.distill.teacher import open_teacher
from training.checkpoint import Checkpoint, load_checkpoint, own_text
from training.errors import CheckpointError
from training.recipe import Recipe
from training.torch_engine import TorchTextEncoder

WORDS = ["a car seen from above", "grass", "two boats, near the pier"]
ENTRY: Mapping[str, Any] = {
    "step": 1,
    "score": 0.5,
    "recall": None,
    "count_error": {"cars": 0.5},
    "n": {"cars": 1, "yard": 1, "caps": 2},
}


@pytest.fixture(scope="module")
def student(clip_teacher: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder of a student that has learned nothing yet."""
    teacher = open_teacher(clip_teacher, torch.device("cpu"))
    torch.manual_seed(5)
    image = starting_student(recipe, teacher).eval()
    folder = tmp_path_factory.mktemp("student") / "checkpoint"
    images = {"cars": 3, "yard": 3, "caps": 5}
    StudentWriter(recipe, DistillOptions(round=4), teacher, images, 0).save(folder, image, ENTRY)
    return folder


def test_the_teachers_text_tower_serves_the_student(student: Path, clip_teacher: Path) -> None:
    loaded = load_checkpoint(student)
    teacher = open_teacher(clip_teacher, torch.device("cpu"))
    assert loaded.spec.text_tower == "tiny-vit"
    assert loaded.spec.embedding_width == teacher.width
    wanted = TorchTextEncoder(teacher.checkpoint).encode(WORDS)
    np.testing.assert_array_equal(TorchTextEncoder(loaded).encode(WORDS), wanted)
    assert (student / "tokenizer.json").read_bytes() == (clip_teacher / "tokenizer.json").read_bytes()


def test_a_student_may_teach_in_turn(student: Path, clip_teacher: Path) -> None:
    first, second = (open_teacher(folder, torch.device("cpu")) for folder in (clip_teacher, student))
    np.testing.assert_allclose(second.sentences(WORDS), first.sentences(WORDS), atol=1e-6)
    assert (second.width, second.stride, second.boxes) == (first.width, 8, True)


def test_a_student_goes_on_from_a_checkpoint_of_its_space_alone(
    student: Path, clip_teacher: Path, lite_teacher: Path, recipe: Recipe
) -> None:
    teacher = open_teacher(clip_teacher, torch.device("cpu"))
    begun = starting_student(recipe.model_copy(update={"start_from": str(student)}), teacher)
    loaded = load_checkpoint(student).image
    assert all(torch.equal(a, b) for a, b in zip(begun.parameters(), loaded.parameters(), strict=True))
    larger = recipe.model_copy(update={"model": "remoteclip-lite2", "start_from": str(student)})
    with pytest.raises(CheckpointError, match="a remoteclip-lite0 of width 24; the student is"):
        starting_student(larger, teacher)


def test_pre_training_does_not_go_on_from_it(student: Path, lite_teacher: Path) -> None:
    loaded = load_checkpoint(student)
    assert isinstance(loaded, Checkpoint)
    with pytest.raises(CheckpointError, match="its text tower is that of tiny-vit"):
        own_text(student, loaded)
    own_text(lite_teacher, load_checkpoint(lite_teacher))


def test_a_damaged_student_is_named(student: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(student, folder)
    file = folder / "model.json"
    document = json.loads(file.read_text())
    broken = {**document["clip"], "quick_gelu": "perhaps"}
    file.write_text(json.dumps({**document, "clip": broken}))
    with pytest.raises(CheckpointError, match=r"model\.json: clip\.quick_gelu"):
        load_checkpoint(folder)
    text = {**document["clip"]["config"]["text_cfg"], "layers": 3}
    deeper = {**document["clip"], "config": {**document["clip"]["config"], "text_cfg": text}}
    file.write_text(json.dumps({**document, "clip": deeper}))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: not the text tower of tiny-vit"):
        load_checkpoint(folder)


def test_a_card_says_who_taught(student: Path, clip_teacher: Path) -> None:
    teacher = open_teacher(clip_teacher, torch.device("cpu")).checkpoint
    card = load_checkpoint(student).card
    assert f"tiny-vit, weights sha256:{teacher.sha256}" in card
    assert "feature 2000, interactive 1, affinity 1, dense 1, box 0.3" in card
    assert "Licence of the teacher: drawn too." in card
