from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compile.distill.unlabelled import Unlabelled
from firmware_cfg.errors import UsageError
from training.errors import DataError
from training.recipe import Recipe


def test_a_step_draws_the_same_crops_again_and_another_step_others(root: Path, recipe: Recipe) -> None:
    folder = root / "caps" / "images"
    drawn = Unlabelled([folder], 3, recipe.schedule)
    assert len(drawn.files) == 7
    crops, scenes = drawn.draw(5)
    assert crops.shape == (3, 96, 96, 3)
    assert scenes.shape == (3, 64, 64, 3)
    again = Unlabelled([folder], 3, recipe.schedule).draw(5)
    assert torch.equal(again[0], crops)
    assert torch.equal(again[1], scenes)
    assert not torch.equal(drawn.draw(6)[1], scenes)


def test_fewer_images_than_a_step_takes_are_drawn_repeatedly(root: Path, recipe: Recipe) -> None:
    assert len(Unlabelled([root / "caps" / "images"], 9, recipe.schedule).draw(0)[0]) == 9


def test_another_image_makes_other_questions(root: Path, recipe: Recipe, tmp_path: Path) -> None:
    picture = next((root / "caps" / "images").iterdir()).read_bytes()
    (tmp_path / "a.png").write_bytes(picture)
    one = Unlabelled([tmp_path], 1, recipe.schedule)
    (tmp_path / "b.png").write_bytes(picture)
    assert Unlabelled([tmp_path], 1, recipe.schedule).sha256 != one.sha256


def test_a_folder_without_images_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no images"):
        Unlabelled([tmp_path], 1, recipe.schedule)
    with pytest.raises(UsageError, match="no such folder"):
        Unlabelled([tmp_path / "absent"], 1, recipe.schedule)


def test_a_file_that_is_no_image_is_named(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"torn\.jpg"):
        Unlabelled([tmp_path], 1, recipe.schedule).draw(0)
