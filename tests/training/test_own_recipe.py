from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from firmware_cfg.errors import UsageError
from training.cli import app
from training.errors import DataError
from training.own_recipe import examine, phrases_for, recipe_text, write_recipe
from training.recipe import default_recipe, load_recipe


@pytest.fixture
def own_set(synthetic_root: Path, tmp_path: Path) -> Path:
    """Somebody's COCO export: the drawn set under another name, with awkward classes."""
    folder = tmp_path / "my boats"
    shutil.copytree(synthetic_root / "coco_set", folder)
    file = folder / "instances_train.json"
    document = json.loads(file.read_text())
    names = {3: "Motor_Boats", 7: "yes", 9: "DontCare"}
    document["categories"] = [{"id": i, "name": name} for i, name in names.items()]
    document["categories"].append({"id": 11, "name": "never annotated"})
    file.write_text(json.dumps(document))
    return folder


def test_a_recipe_for_somebodys_coco_file_is_one_that_training_takes(own_set: Path, tmp_path: Path) -> None:
    own = write_recipe(own_set, tmp_path / "own.yaml")
    recipe = load_recipe(tmp_path / "own.yaml")
    (spec,) = recipe.object_sets
    assert (spec.name, spec.format, own.images) == ("my boats", "coco", 4)
    assert spec.objects == {"Motor_Boats": ["motor boat"], "yes": ["yes"]}
    assert recipe.start_from is not None
    assert recipe.caption_sets == []
    assert recipe.schedule.box_captions == 2
    # Boxes are 24 x 16: small things are magnified, one's own pixels lie inside.
    assert spec.scale == (0.8, 2.45)
    assert "# 3 objects in 3 images: few; expect little" in (tmp_path / "own.yaml").read_text()


def test_classes_that_the_shipped_model_knows_get_its_words() -> None:
    shipped = load_recipe(default_recipe())
    assert phrases_for("Airplane", shipped) == ("airplane", "plane", "aircraft", "parked aircraft")
    assert phrases_for("storage_tanks", shipped)[0] == "storage tank"
    assert "oil tank" in phrases_for("storage_tanks", shipped)
    assert phrases_for("SolarPanel", shipped) == ("solar panel",)


def test_what_one_trains_on_is_no_distractor(own_set: Path) -> None:
    file = own_set / "instances_train.json"
    file.write_text(file.read_text().replace("Motor_Boats", "Horses").replace('"yes"', '"Dam"'))
    stated = yaml.safe_load(recipe_text(examine(own_set)))
    shipped = load_recipe(default_recipe()).distractors
    assert {"horse", "dam"} <= set(shipped)
    assert set(shipped) - set(stated["distractors"]) == {"horse", "dam"}


def test_a_recipe_may_go_into_a_folder_that_is_not_there_yet(own_set: Path, tmp_path: Path) -> None:
    write_recipe(own_set, tmp_path / "new" / "folder" / "own.yaml")
    assert load_recipe(tmp_path / "new" / "folder" / "own.yaml").object_sets


def test_a_recipe_is_not_written_over(own_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.yaml"
    out.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        write_recipe(own_set, out)
    assert out.read_text() == "mine"
    write_recipe(own_set, out, start_from="../other run/checkpoint", force=True)
    start = load_recipe(out).start_from
    assert start is not None
    assert Path(start) == (tmp_path / "../other run/checkpoint").absolute()


def test_sets_without_boxes_are_refused(synthetic_root: Path, own_set: Path) -> None:
    with pytest.raises(DataError, match="karpathy has no boxes"):
        examine(synthetic_root / "caps")
    file = own_set / "instances_train.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"annotations": []}))
    with pytest.raises(DataError, match="too few"):
        examine(own_set)


def test_the_command_says_what_it_found_and_what_to_do_next(own_set: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["recipe", str(own_set), "-o", str(tmp_path / "own.yaml")])
    assert ran.exit_code == 0, ran.output
    assert "4 images, 4 objects of 2 classes" in ran.stdout
    assert f"pretrain {tmp_path / 'own.yaml'} --data {tmp_path} -o run" in ran.stdout
    load_recipe(tmp_path / "own.yaml")
