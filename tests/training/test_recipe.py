from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from firmware_cfg.errors import ConfigErrors, UsageError
from training.readers import OBJECT_READERS
from training.recipe import DEFAULT_CHECKPOINT, ObjectSet, changed, default_recipe, leave_out, load_recipe


def test_every_reader_can_be_named_in_a_recipe() -> None:
    assert set(get_args(ObjectSet.model_fields["format"].annotation)) == set(OBJECT_READERS)


def test_the_shipped_recipe_is_valid() -> None:
    recipe = load_recipe(default_recipe())
    assert recipe.model == "remoteclip-lite0"
    assert {s.name for s in recipe.object_sets} >= {"vhr10", "hit_uav", "cats_vehicles", "aerial_cars"}
    assert all("{}" in template for template in recipe.templates)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("warmup: 1", "warm_up: 1", "unknown key warm_up"),
        ("ema: 0.9", "ema: 1.5", "ema must be less than 1"),
        ("dense_crop: 96", "dense_crop: 100", "multiple of 32"),
        (
            "scale: [0.7, 1.4], licence: drawn,\n     objects: {ship",
            "scale: [2, 1], licence: drawn,\n     objects: {ship",
            "scale must be two numbers above 0",
        ),
        ('"a {} seen from above"', '"a thing seen from above"', r"hold {} once"),
        ('"a {} seen from above"', '"a {} seen {x}"', r"hold {} once"),
        ("format: coco", "format: kitti", "format must be"),
        ("plane: [plane]", "plane: []", "at least 1 item"),
        (
            "distractors: [elephant, giraffe, camel, penguin, whale, shark]",
            "distractors: [elephant]",
            "at least 6 items",
        ),
        ("model: remoteclip-lite0", "model: RemoteCLIP", "model must be remoteclip-lite0"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    small_recipe: str, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = small_recipe.replace(old, new, 1)
    assert text != small_recipe
    line = next(
        i
        for i, (a, b) in enumerate(zip(small_recipe.split("\n"), text.split("\n"), strict=True), 1)
        if a != b
    )
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(ConfigErrors, match=message) as caught:
        load_recipe(file)
    assert any(error.line == line for error in caught.value.errors)
    assert str(caught.value).startswith(f"{file}:")


def test_a_missing_section_and_a_missing_file_are_named(small_recipe: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(small_recipe.replace("distractors:", "# distractors:"))
    with pytest.raises(ConfigErrors, match="distractors is missing"):
        load_recipe(file)
    with pytest.raises(ConfigErrors, match=r"nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


def test_a_start_is_found_beside_the_recipe(small_recipe: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    for stated, found in (("base", tmp_path / "base"), ("default", DEFAULT_CHECKPOINT)):
        file.write_text(
            small_recipe.replace("model: remoteclip-lite0", f"model: remoteclip-lite0\nstart_from: {stated}")
        )
        assert load_recipe(file).start_from == str(found)


def test_classes_can_be_left_out_of_a_run() -> None:
    recipe = load_recipe(default_recipe())
    fewer = leave_out(recipe, ["vhr10:tennis_court", "vhr10:airplane"])
    before, after = (next(s for s in r.object_sets if s.name == "vhr10") for r in (recipe, fewer))
    assert set(before.objects) - set(after.objects) == {"tennis_court", "airplane"}
    assert [s for s in fewer.object_sets if s.name != "vhr10"] == [
        s for s in recipe.object_sets if s.name != "vhr10"
    ]


@pytest.mark.parametrize("stated", ["vhr10:zebra", "nowhere:car", "vhr10"])
def test_only_classes_of_the_recipe_can_be_left_out(stated: str) -> None:
    with pytest.raises(UsageError, match="not a set and class of the recipe"):
        leave_out(load_recipe(default_recipe()), [stated])


def test_a_command_line_changes_what_it_names() -> None:
    recipe = load_recipe(default_recipe())
    assert changed(recipe, None, None, None, ()) == recipe
    found = changed(recipe, "remoteclip-lite2", "/there", 7, ["vhr10:ship"])
    assert (found.model, found.start_from, found.schedule.steps) == ("remoteclip-lite2", "/there", 7)
    assert "ship" not in found.object_sets[0].objects
    with pytest.raises(UsageError, match="a lite recipe trains remoteclip-lite0 or remoteclip-lite2"):
        changed(recipe, "lite9", None, None, ())


def test_a_step_needs_images_to_contrast(small_recipe: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(small_recipe.replace("caption_batch: 3", "caption_batch: 0"))
    with pytest.raises(ConfigErrors, match="two images or more in caption_batch and box_captions"):
        load_recipe(file)
    file.write_text(small_recipe.replace("caption_batch: 3", "caption_batch: 0, box_captions: 2"))
    assert load_recipe(file).schedule.caption_batch == 0
