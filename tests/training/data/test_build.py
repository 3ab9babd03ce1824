from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from firmware_cfg.errors import UsageError
from training.data.build import build
from training.data.engine import LocalEngine
from training.data.manifest import read_manifest
from training.data.reader import ShardSamples
from training.data.recipe import DataRecipe
from training.errors import DataError

Recipes = Callable[..., DataRecipe]
RESULTS = ("shards", "manifest.json", "report.json", "report.md")


def contents(out: Path) -> dict[str, bytes]:
    """Everything that a build is for, by name."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    names = {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in names.items() if name.split("/")[0] in RESULTS}


@pytest.fixture
def built(faulty_root: Path, recipe_of: Recipes, tmp_path: Path) -> Path:
    build(recipe_of(), faulty_root, tmp_path / "out", LocalEngine(1))
    return tmp_path / "out"


def test_every_image_is_accounted_for(built: Path) -> None:
    sources = {source.name: source for source in read_manifest(built).sources}
    columns = ("read", "faulty", "without_caption", "leaks", "duplicates", "train", "val")
    counted = {name: tuple(getattr(source, c) for c in columns) for name, source in sources.items()}
    assert counted == {
        "coco_set": (4, 1, 0, 0, 0, 2, 1),  # one truncated, one in the validation list
        "drone": (4, 0, 0, 0, 1, 3, 0),  # one repeats an image of coco_set
        "mask_set": (4, 0, 0, 1, 0, 3, 0),  # one is an image of folder_set
        "point_set": (4, 0, 1, 0, 0, 3, 0),  # one has no points
        "caps": (7, 0, 0, 0, 0, 5, 2),
    }
    assert len(ShardSamples(built)) == 16 == read_manifest(built).samples("train")
    assert len(ShardSamples(built, "val")) == 3 == read_manifest(built).samples("val")


def test_an_image_that_is_not_there_is_read_and_faulty(
    faulty_root: Path, recipe_of: Recipes, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(faulty_root, root)
    (root / "coco_set" / "images" / "train_2.jpg").unlink()
    build(recipe_of(), root, tmp_path / "out", LocalEngine(1))
    source = next(s for s in read_manifest(tmp_path / "out").sources if s.name == "coco_set")
    assert (source.read, source.faulty, source.train, source.val) == (4, 2, 1, 1)


def test_the_report_names_what_was_left_out(built: Path) -> None:
    report = json.loads((built / "report.json").read_text())
    (fault,) = report["findings"]["coco_set"]["listed"]
    assert (fault["kind"], fault["file"]) == ("corrupt_image", "coco_set/images/train_1.jpg")
    assert report["findings"]["point_set"]["counts"] == {"empty_annotation": 1}
    assert report["duplicates"]["listed"] == [
        {"file": "yolo_set/images/train/train_2.png", "near": "coco_set/images/train_0.jpg", "distance": 0}
    ]
    leaks = {(entry["name"], entry["split"]): entry for entry in report["leaks"]}
    assert leaks["folder_set", "all"]["listed"] == [
        {"file": "mask_set/images/train/train_0.jpg", "near": "folder_set/beach/beach_0.jpg", "distance": 0}
    ]
    assert [entry["train_removed"] for entry in report["leaks"]] == [1, 0, 0, 0, 0]
    assert leaks["caps", "test"]["images"] == 3
    assert leaks["coco_set", "set aside"]["images"] == 1
    text = (built / "report.md").read_text()
    assert "mask_set/images/train/train_0.jpg is near folder_set/beach/beach_0.jpg (distance 0)" in text
    assert "corrupt image: coco_set/images/train_1.jpg" in text


def test_samples_say_what_their_annotations_say(built: Path) -> None:
    by_file = {sample.file: sample for part in ("train", "val") for sample in ShardSamples(built, part)}
    ship = by_file["coco_set/images/train_0.jpg"]
    assert (ship.source, ship.names, ship.labels.tolist()) == ("coco_set", ("ship", "plane"), [0])
    # 160 x 128 is stored as 120 x 96: boxes shrink with the image. The box was 10, 20, 34, 36.
    assert ship.pixels().shape == (96, 120, 3) == (ship.height, ship.width, 3)
    np.testing.assert_allclose(ship.boxes, [[7.5, 15, 25.5, 27]], atol=0.01)
    np.testing.assert_allclose(ship.ignored, [[0, 0, 6.75, 6.75]], atol=0.01)
    assert len(ship.captions) == 5
    assert all("one ship" in caption or "one boat" in caption for caption in ship.captions)
    person = by_file["mask_set/images/train/train_1.jpg"]
    assert person.names == ("person",)
    assert len(person.captions) == 6
    assert "grass" in person.captions[-1]
    tree = by_file["point_set/images/train/train_1.jpg"]
    assert (tree.boxes[:, 2:] == tree.boxes[:, :2]).all()
    said = by_file["caps/images/val_0.jpg"]
    assert said.captions == ("val picture 0 shows a port .", "a port from above , number 0 .")
    assert said.label == "Port"


def test_images_that_fit_keep_their_bytes(faulty_root: Path, recipe_of: Recipes, tmp_path: Path) -> None:
    recipe = recipe_of()
    whole = recipe.model_copy(update={"shards": recipe.shards.model_copy(update={"longest_side": 160})})
    build(whole, faulty_root, tmp_path / "out", LocalEngine(1))
    for sample in ShardSamples(tmp_path / "out"):
        assert sample.image == (faulty_root / sample.file).read_bytes()


def test_webdataset_reads_the_shards(built: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    samples = ShardSamples(built)
    urls = [str(path) for path in sorted((built / "shards").glob("train-*.tar"))]
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in read] == list(samples.keys())
    for theirs, ours in zip(read, samples, strict=True):
        assert json.loads(theirs["json"])["captions"] == list(ours.captions)
        assert theirs["jpg"] == ours.image


def test_shards_mix_the_sets(built: Path) -> None:
    sources = [sample.source for sample in ShardSamples(built)]
    changes = sum(a != b for a, b in itertools.pairwise(sources))
    assert changes > len(set(sources))


def test_workers_change_nothing(built: Path, faulty_root: Path, recipe_of: Recipes, tmp_path: Path) -> None:
    build(recipe_of(), faulty_root, tmp_path / "again", LocalEngine(2))
    assert contents(tmp_path / "again") == contents(built)


def test_the_seed_changes_words_and_order(
    built: Path, faulty_root: Path, recipe_of: Recipes, tmp_path: Path
) -> None:
    build(recipe_of().model_copy(update={"seed": 1}), faulty_root, tmp_path / "other", LocalEngine(1))
    first, other = ShardSamples(built), ShardSamples(tmp_path / "other")
    assert first.keys() != other.keys()
    assert {s.file for s in first} == {s.file for s in other}
    assert {s.file: s.captions for s in first} != {s.file: s.captions for s in other}


_KILLED = """\
import os, signal, sys
from pathlib import Path
from training.data.build import build
from training.data.engine import LocalEngine
from training.data.recipe import load_data_recipe

class Killed(LocalEngine):
    def run(self, function, tasks):
        for done, result in enumerate(super().run(function, tasks)):
            yield result
            if function.__name__ == "write_shard" and done == 1:
                os.kill(os.getpid(), signal.SIGKILL)

recipe, root, out = map(Path, sys.argv[1:])
build(load_data_recipe(recipe), root, out, Killed(1))
"""


def test_a_killed_build_goes_on_where_it_was(
    built: Path, faulty_root: Path, recipe_of: Recipes, tmp_path: Path, repository: Path
) -> None:
    recipe_of()
    out = tmp_path / "killed"
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "recipe.yaml"), str(faulty_root), str(out)]
    killed = subprocess.run(command, cwd=repository, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert not (out / "manifest.json").exists()
    written = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    assert 2 <= len(written) < len(list((built / "shards").iterdir()))
    with (out / ".build" / "examined.jsonl").open("a") as stream:
        stream.write('{"file": "coco_set/images/tr')  # a line that the kill cut off

    build(recipe_of(), faulty_root, out, LocalEngine(1), resume=True)

    assert contents(out) == contents(built)
    assert {name: (out / "shards" / name).stat().st_mtime_ns for name in written} == written


def test_a_damaged_shard_is_written_again(built: Path, faulty_root: Path, recipe_of: Recipes) -> None:
    whole = contents(built)
    shard = built / "shards" / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    (built / "shards" / "train-000099.tar").write_bytes(b"of a larger build")
    build(recipe_of(), faulty_root, built, LocalEngine(1), resume=True)
    assert contents(built) == whole


def test_changed_data_change_the_shards(
    built: Path, faulty_root: Path, recipe_of: Recipes, tmp_path: Path
) -> None:
    root = tmp_path / "changed"
    shutil.copytree(faulty_root, root, symlinks=True)
    cv2.imwrite(str(root / "coco_set" / "images" / "train_2.jpg"), np.full((128, 160, 3), 7, np.uint8))
    build(recipe_of(), root, built, LocalEngine(1), resume=True)
    build(recipe_of(), root, tmp_path / "fresh", LocalEngine(1))
    assert contents(built) == contents(tmp_path / "fresh")
    changed = next(s for s in ShardSamples(built) if s.file == "coco_set/images/train_2.jpg")
    assert np.abs(changed.pixels().astype(int) - 7).max() <= 2


def test_a_folder_with_something_in_it_is_left_alone(
    built: Path, faulty_root: Path, recipe_of: Recipes, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="holds a build already"):
        build(recipe_of(), faulty_root, built, LocalEngine(1))
    with pytest.raises(UsageError, match="begun by another recipe"):
        build(recipe_of().model_copy(update={"seed": 5}), faulty_root, built, LocalEngine(1), resume=True)
    with pytest.raises(UsageError, match="is not empty"):
        build(recipe_of(), faulty_root, tmp_path, LocalEngine(1))


_BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no such folder": ({"name": "nowhere", "captions": "b2c"}, "nowhere: no such folder"),
    "format": ({"name": "coco_set", "format": "voc2", "captions": "b2c"}, "no reader called 'voc2'"),
    "captions": (
        {"name": "coco_set", "captions": "m2b+b2c"},
        "captions: m2b.b2c needs a set read as .*masks",
    ),
    "class": (
        {"name": "coco_set", "captions": "b2c", "classes": {"shp": ["ship"]}},
        "no class 'shp' .did you",
    ),
    "split": ({"name": "caps", "split": "night", "captions": "captions"}, "no images of split night"),
    "list": (
        {"name": "drone", "folder": "yolo_set", "captions": "b2c", "validation": True},
        "lists no image",
    ),
}


@pytest.mark.parametrize("fault", _BAD)
def test_a_recipe_that_does_not_fit_the_data_says_where(
    fault: str, faulty_root: Path, recipe_of: Recipes, tmp_path: Path
) -> None:
    entry, message = _BAD[fault]
    if "validation" in entry:
        entry = {**entry, "validation": {"hashes": "coco.val.txt"}}
    text = json.dumps({"sets": [{**entry, "licence": "drawn", "source": "the tests"}]})
    with pytest.raises(DataError, match=message):
        build(recipe_of(text), faulty_root, tmp_path / "out", LocalEngine(1))


def test_an_evaluation_set_that_is_not_there_is_an_error(
    faulty_root: Path, recipe_of: Recipes, tmp_path: Path
) -> None:
    recipe = recipe_of()
    for evaluation in ({"name": "gone"}, {"name": "caps", "splits": ["gone"]}):
        text = json.dumps(
            {"sets": [recipe.sets[4].model_dump(exclude_none=True)], "evaluation": [evaluation]}
        )
        with pytest.raises(DataError, match="gone"):
            build(recipe_of(text), faulty_root, tmp_path / evaluation["name"], LocalEngine(1))
