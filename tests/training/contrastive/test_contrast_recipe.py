from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from firmware_cfg.errors import ConfigErrors, UsageError
from training.contrastive.recipe import ContrastRecipe, is_contrastive, load_contrast_recipe
from training.contrastive.sources import open_sources
from training.contrastive.start import starting_towers
from training.data.manifest import read_manifest
from training.errors import DataError
from training.recipe import default_recipe

SMALL = """\
model: ViT-B-32
schedule: {steps: 4, warmup: 1, batch: 2, learning_rate: 1.0e-4, evaluate_every: 2, save_every: 2}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "own.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "model", "rate", "batch"),
    [("rn50", "RN50", 7e-5, 256), ("vit-b-32", "ViT-B-32", 4e-5, 256), ("vit-l-14", "ViT-L-14", 1e-4, 28)],
)
def test_the_papers_recipes_are_shipped(
    name: str, model: str, rate: float, batch: int, repository: Path
) -> None:
    """RemoteCLIP (arXiv 2306.11029), implementation details."""
    file = repository / "training" / "recipes" / f"remoteclip-{name}.yaml"
    assert is_contrastive(file)
    recipe = load_contrast_recipe(file)
    schedule = recipe.schedule
    assert (recipe.model, schedule.learning_rate, schedule.batch) == (model, rate, batch)
    assert schedule.steps == 108_215
    assert schedule.precision == "float16"
    assert recipe.augmentation.flip
    assert recipe.augmentation.quarter_turns


def test_shards_make_a_light_models_recipe_contrastive(tmp_path: Path) -> None:
    light = SMALL.replace("ViT-B-32", "remoteclip-lite0")
    assert not is_contrastive(written(tmp_path, light))
    assert is_contrastive(written(tmp_path, light + "shards: built\n"))
    assert is_contrastive(written(tmp_path, SMALL))
    assert not is_contrastive(default_recipe())
    assert not is_contrastive(written(tmp_path, "- a list\n"))


def test_paths_of_a_recipe_lie_beside_it(tmp_path: Path) -> None:
    text = SMALL + "shards: ../built\nstart_from: weights/RN50.pt\n"
    recipe = load_contrast_recipe(written(tmp_path, text))
    assert recipe.shards == str(tmp_path / "../built")
    assert recipe.start_from == str(tmp_path / "weights/RN50.pt")
    scratch = load_contrast_recipe(written(tmp_path, SMALL + "start_from: scratch\n"))
    assert scratch.start_from == "scratch"
    own = load_contrast_recipe(written(tmp_path, SMALL.replace("ViT-B-32", "own.json")))
    assert own.model == str(tmp_path / "own.json")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch: 2", "batch: 1", r"own\.yaml:2:\d+: batch must be greater than 1, got 1"),
        ("batch: 2", "batches: 2", r"unknown key batches \(did you mean batch"),
        (
            "save_every: 2",
            "save_every: 2, precision: half",
            r"precision must be float32, bfloat16 or float16",
        ),
        (
            "save_every: 2",
            "save_every: 2, chunk: 1, freeze_batch_norm: false",
            r"chunk needs freeze_batch_norm: each chunk .* \(leave out chunk, or",
        ),
        (
            "model: ViT-B-32",
            "model: ViT-B-32\naugmentation: {crop: [0.9, 0.4]}",
            r"own\.yaml:2:\d+: crop must be two numbers above 0 and at most 1, the smaller one first",
        ),
    ],
)
def test_a_fault_is_named_with_its_place_and_mend(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfigErrors, match=message):
        load_contrast_recipe(written(tmp_path, SMALL.replace(old, new)))


def test_what_a_recipe_leaves_open_is_asked_for(shards: Path, tmp_path: Path, tiny: ModuleType) -> None:
    recipe: ContrastRecipe = tiny.recipe(shards)
    nowhere = recipe.model_copy(update={"shards": None})
    with pytest.raises(UsageError, match=r"names no shards .*--shards"):
        open_sources(nowhere, None)
    with pytest.raises(DataError, match=r"manifest\.json: no such file \(run: remoteclip data build"):
        open_sources(recipe.model_copy(update={"shards": str(tmp_path)}), None)
    with pytest.raises(UsageError, match="--start-from FILE"):
        starting_towers(recipe, read_manifest(shards), [])


def test_towers_and_weights_must_belong_together(shards: Path, tiny: ModuleType) -> None:
    recipe: ContrastRecipe = tiny.recipe(shards).model_copy(update={"start_from": "scratch"})
    manifest = read_manifest(shards)
    for change, message in (
        ({"model": "remoteclip-lite9"}, r"unknown model remoteclip-lite9 \(known: remoteclip-lite0"),
        ({"model": "ViT-B-33"}, r"ViT-B-33: unknown tower \(known: RN50"),
        ({"model": "remoteclip-lite0", "quick_gelu": True}, "leave quick_gelu out"),
    ):
        with pytest.raises(UsageError, match=message):
            starting_towers(recipe.model_copy(update=change), manifest, [])


def test_validation_may_be_a_caption_set(shards: Path, tiny: ModuleType, built_root: Path) -> None:
    chosen = {"name": "caps", "split": "test"}
    recipe = ContrastRecipe.model_validate({**tiny.recipe(shards).model_dump(), "validation": chosen})
    sources = open_sources(recipe, built_root)
    assert sources.validation.name == "caps (test)"
    with pytest.raises(UsageError, match=r"validation on caps needs the data root .*--data"):
        open_sources(recipe, None)
    other = ContrastRecipe.model_validate(
        {**recipe.model_dump(), "validation": {"name": "caps", "split": "none"}}
    )
    with pytest.raises(DataError, match="caps: no images of split none"):
        open_sources(other, built_root)
