from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.errors import DataError
from training.recipe import load_recipe
from training.validation import Validation, ValidationScore, mean_recall, recalls


def test_recalls_by_hand() -> None:
    # Two images, three texts; texts 0 and 1 belong to image 0, text 2 to image 1.
    similarity = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.2, 0.7]])
    owner = torch.tensor([0, 0, 1])
    found = recalls(similarity, owner)
    assert found["i2t_r1"] == 0.5  # image 0 finds text 1; image 1 finds text 0 first
    assert found["i2t_r5"] == found["i2t_r10"] == 1.0
    assert found["t2i_r1"] == pytest.approx(2 / 3)  # text 0 prefers image 1
    assert found["t2i_r5"] == 1.0
    assert mean_recall(similarity, owner) == pytest.approx((0.5 + 1 + 1 + 2 / 3 + 1 + 1) / 6)


def test_recall_at_ten_ends_at_the_tenth() -> None:
    # Every image's own text is ranked one place further down than the image before.
    images = 12
    similarity = torch.zeros(images, images)
    for i in range(images):
        similarity[i] = -torch.arange(images, dtype=torch.float32)
        similarity[i, i] = -i + 0.0
    found = recalls(similarity, torch.arange(images))
    assert found["i2t_r1"] == pytest.approx(1 / 12)
    assert found["i2t_r5"] == pytest.approx(5 / 12)
    assert found["i2t_r10"] == pytest.approx(10 / 12)


def test_the_score_rises_with_recall_and_falls_with_counting_error() -> None:
    assert ValidationScore({"a": 0.2, "b": 0.4}, 0.5).score == pytest.approx(0.2)


def test_caption_sets_without_validation_images_are_refused(
    synthetic_root: Path, small_recipe: str, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    for child in synthetic_root.iterdir():
        if child.name != "caps":
            (tmp_path / "root" / child.name).symlink_to(child)
    (tmp_path / "root/caps").mkdir()
    (tmp_path / "root/caps/dataset_caps.json").write_text('{"images": []}')
    (tmp_path / "recipe.yaml").write_text(small_recipe)
    with pytest.raises(DataError, match="no images of split val"):
        Validation(tmp_path / "root", load_recipe(tmp_path / "recipe.yaml"))
