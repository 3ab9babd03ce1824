from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compile.quantize.images import WANTED, CalibrationImages, evenly, share_out
from edge.letterbox import PADDING
from firmware_cfg.errors import UsageError
from training.errors import DataError
from training.readers import OBJECT_READERS
from training.recipe import Recipe, default_recipe, load_recipe
from training.splits import read_part

SIZES = ((640, 384), (256, 256))


def one_set(root: Path, images: int) -> Recipe:
    """A YOLO set with training and test images, and the recipe that names it alone."""
    folder = root / "quarry"
    for split, count in (("train", images), ("test", 3)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            picture = np.full((60, 100, 3), number, np.uint8)
            assert cv2.imwrite(str(folder / "images" / split / f"{split}_{number}.png"), picture)
            (folder / "labels" / split / f"{split}_{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text(
        "path: .\ntrain: images/train\ntest: images/test\nnc: 1\nnames: [digger]\n"
    )
    recipe = load_recipe(default_recipe())
    spec = recipe.object_sets[0].model_copy(
        update={"name": "quarry", "format": "yolo", "objects": {"digger": ["digger"]}}
    )
    return recipe.model_copy(update={"object_sets": [spec], "caption_sets": []})


def test_only_training_images_calibrate(tmp_path: Path) -> None:
    recipe = one_set(tmp_path, 24)
    chosen = CalibrationImages.from_recipe(recipe, tmp_path, SIZES).paths
    _, validation = read_part(OBJECT_READERS["yolo"], tmp_path / "quarry", "val")
    assert len(validation) == 3
    assert {path.parent.name for path in chosen} == {"train"}
    assert {path.name for path in chosen} == {f"train_{n}.png" for n in range(24)} - {
        sample.path.name for sample in validation
    }


def test_a_folder_is_searched_to_its_depth_and_evenly(pictures: Path) -> None:
    every = CalibrationImages.from_folder(pictures, SIZES)
    assert [path.stem for path in every.paths] == [*"01234", *"567"]
    assert [path.stem for path in CalibrationImages.from_folder(pictures, SIZES, 4).paths] == [*"0246"]
    assert [path.stem for path in every.few(2).paths] == ["0", "4"]


def test_an_image_is_letterboxed_to_the_tile_that_suits_it(tmp_path: Path) -> None:
    wide = np.full((300, 600, 3), (10, 20, 200), np.uint8)  # BGR
    assert cv2.imwrite(str(tmp_path / "wide.png"), wide)
    images = CalibrationImages.from_folder(tmp_path, SIZES)
    tile = images.tile(images.paths[0])
    assert tile.shape == (1, 384, 640, 3)
    assert tile.dtype == np.uint8
    np.testing.assert_array_equal(tile[0, 192, 320], (200, 20, 10))
    np.testing.assert_array_equal(tile[0, 0, 0], (PADDING,) * 3)
    assert images.of_size((256, 256)).tile(images.paths[0]).shape == (1, 256, 256, 3)


def test_few_images_are_a_warning_that_counts_them(pictures: Path) -> None:
    assert CalibrationImages.from_folder(pictures, SIZES).warning == (
        f"{pictures}: calibrated on 8 images, fewer than the {WANTED} that int8 wants:"
        " ranges may be too narrow"
    )
    assert CalibrationImages.from_folder(pictures, SIZES, 4).warning.endswith("int8 wants, as asked")
    enough = CalibrationImages((Path("a.png"),) * WANTED, WANTED, SIZES, "drawn")
    assert enough.warning == ""


def test_no_images_are_an_error_that_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(UsageError, match=f"{tmp_path}: no images to calibrate on"):
        CalibrationImages.from_folder(tmp_path, SIZES)
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        CalibrationImages.from_folder(tmp_path / "nowhere", SIZES)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
    images = CalibrationImages.from_folder(tmp_path, SIZES)
    with pytest.raises(DataError, match=r"cut\.png"):
        images.tile(images.paths[0])


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(1, 200))
def test_shares_are_equal_as_far_as_groups_reach(sizes: list[int], wanted: int) -> None:
    shares = share_out(sizes, wanted)
    assert sum(shares) == min(wanted, sum(sizes))
    assert all(share <= size for share, size in zip(shares, sizes, strict=True))
    # Whoever gave less than another gave all, but for the one that the remainder makes.
    assert all(share == size or share >= max(shares) - 1 for share, size in zip(shares, sizes, strict=True))


@given(st.lists(st.integers(), unique=True), st.integers(0, 50))
def test_evenly_chosen_items_keep_their_order(items: list[int], count: int) -> None:
    chosen = evenly(items, count)
    assert len(chosen) == min(count, len(items))
    places = [items.index(item) for item in chosen]
    steps = np.diff(places)
    assert (steps >= 1).all()
    assert not len(steps) or steps.max() - steps.min() <= 1
