from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_cfg.errors import ConfigErrors
from training.data.recipe import DataRecipe, load_data_recipe

Recipes = Callable[..., DataRecipe]
SET = "sets:\n  - {name: a, captions: b2c, licence: free, source: here"


def test_the_shared_recipe_is_valid_and_names_every_licence(repository: Path) -> None:
    recipe = load_data_recipe(repository / "training" / "recipes" / "shared.yaml")
    assert {data_set.name for data_set in recipe.sets} >= {"rsicd", "vhr10", "hit_uav", "urban_trees"}
    assert all(data_set.licence for data_set in recipe.sets)
    evaluated = {entry.name for entry in recipe.evaluation}
    trained = {data_set.name for data_set in recipe.sets}
    assert evaluated >= {"eurosat", "resisc12", "ucm_captions", "visdrone_sample", "uav_sar", "auair"}
    # A set that is trained on may be evaluated on by its test split only.
    assert all(entry.splits for entry in recipe.evaluation if entry.name in trained)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sets: []\n", "recipe.yaml:1:7: sets .*at least 1"),
        (f"{SET}, colour: red}}\n", "2:59: unknown key colour"),
        (
            f"{SET}}}\n  - {{name: a, captions: b2c, licence: l, source: s}}\n",
            "3:12: name must be another one",
        ),
        (f"{SET}, captoins: x}}\n", "recipe.yaml:2:59: unknown key captoins"),
        (f"{SET}, folder: ../b}}\n", "folder must be a folder below the data root"),
        (f"{SET}, classes: {{car: []}}}}\n", "car .*at least 1"),
        (f"{SET}, classes: {{car: ['  ']}}}}\n", "must have words in it"),
        (f"{SET}, areas: {{grass: [grass]}}}}\n", "areas go with captions: m2b.b2c only"),
        (f"{SET}, validation: {{}}}}\n", "exactly one of split, hashes and share"),
        (f"{SET}, validation: {{share: 0.1, split: val}}}}\n", "exactly one of split, hashes and share"),
        (f"{SET}, validation: {{split: val, group: '(.)'}}}}\n", "group goes with share only"),
        (f"{SET}, validation: {{share: 0.1, group: '.'}}}}\n", "one pair of brackets"),
        (f"{SET}, validation: {{share: 0.1, group: '('}}}}\n", "regular expression"),
        (f"{SET}, validation: {{hashes: none.txt}}}}\n", "hashes must name a file that exists"),
        (
            f"{SET}}}\nduplicates: {{distance: 5, segments: 4}}\n",
            "4 segments would miss pairs below distance 5",
        ),
        (f"{SET}}}\ncaptions: {{counts: ['two cars']}}\n", "hold {} once"),
        (f"{SET}}}\ncaptions: {{centre: [0, 0.5]}}\n", "centre.*greater than 0"),
        (f"{SET}}}\nshards: {{jpeg_quality: 120}}\n", "jpeg_quality .*less than or equal to 100"),
    ],
)
def test_faults_are_told_with_their_place(text: str, message: str, recipe_of: Recipes) -> None:
    with pytest.raises(ConfigErrors, match=message):
        recipe_of(text)


def test_the_hash_is_of_what_the_recipe_says(recipe_of: Recipes, tmp_path: Path) -> None:
    text = f"{SET}, validation: {{hashes: coco.val.txt}}}}\n"
    first = recipe_of(text).sha256()
    assert recipe_of(f"# a comment\n{text}seed: 0\n").sha256() == first
    assert recipe_of(f"{text}seed: 1\n").sha256() != first
    (tmp_path / "moved.txt").write_bytes((tmp_path / "coco.val.txt").read_bytes())
    moved = text.replace("coco.val", "moved")
    assert recipe_of(moved).sha256() == first  # where the list lies says nothing, what is in it does
    (tmp_path / "moved.txt").write_text("0123456789abcdef\n")
    assert recipe_of(moved).sha256() != first


def test_wordings_reach_the_captions(recipe_of: Recipes) -> None:
    options = recipe_of(
        f"{SET}}}\ncaptions: {{captions: 3, digits: true, in_centre: ['mid {{}}'], at_edge: ['rim {{}}'],"
        " counts: ['sum {}'], both: ['pair {}'], classes: 1, many: [heaps of], of_class: ['here {}']}\n"
    ).captions
    said = options.box_to_caption(0).caption([(5, 5)] * 12 + [(0, 0)], [0] * 13, ["car"], 10, 10, "key")
    assert said == ("mid heaps of cars", "rim 1 car", "sum heaps of cars")
    assert options.class_to_caption(0).caption(["port"], "key") == ("here a port",)
