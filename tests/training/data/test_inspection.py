from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from training.data.build import build
from training.data.engine import LocalEngine
from training.data.inspection import inspect_shards
from training.data.reader import ShardSamples
from training.data.recipe import DataRecipe
from training.errors import DataError

pytest.importorskip("matplotlib", reason="matplotlib (extra: train) is not installed")


@pytest.fixture
def built(faulty_root: Path, recipe_of: Callable[..., DataRecipe], tmp_path: Path) -> Path:
    build(recipe_of(), faulty_root, tmp_path / "out", LocalEngine(1))
    return tmp_path / "out"


def test_figures_are_those_of_the_shards(built: Path, tmp_path: Path) -> None:
    found = inspect_shards(built, tmp_path / "seen", images=7)
    samples = list(ShardSamples(built))
    document = found.as_json()
    assert document["n"] == len(samples)
    for name, figures in document["sets"].items():
        mine = [sample for sample in samples if sample.source == name]
        said = [caption for sample in mine for caption in sample.captions]
        assert figures["images"] == len(mine)
        assert figures["captions"] == len(said)
        words = sum(len(caption.split()) for caption in said) / len(said)
        assert figures["words_a_caption"] == pytest.approx(words, abs=0.01)
        assert figures["boxes"] == sum(len(sample.boxes) for sample in mine)
    assert document["sets"]["caps"]["classes"] == {"Port": 3, "Forest": 2}
    assert document["sets"]["coco_set"]["classes"] == {"ship": 2}


def test_pictures_are_drawn(built: Path, tmp_path: Path) -> None:
    found = inspect_shards(built, tmp_path / "seen", images=7)
    sheet, histograms = (cv2.imread(str(path)) for path in found.pictures)
    assert sheet.shape[1] > sheet.shape[0] > 400
    assert sheet.std() > 20
    assert histograms.shape[1] > histograms.shape[0] > 400
    again = inspect_shards(built, tmp_path / "again", images=7)
    assert [path.read_bytes() for path in again.pictures] == [path.read_bytes() for path in found.pictures]


def test_the_validation_part_can_be_seen_too(built: Path, tmp_path: Path) -> None:
    assert inspect_shards(built, tmp_path / "seen", "val", images=30).as_json()["n"] == 3


def test_a_folder_without_a_finished_build_says_what_to_run(built: Path, tmp_path: Path) -> None:
    (built / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json: no such file \(run: remoteclip data build"):
        inspect_shards(built, tmp_path / "seen")
    (built / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="not a manifest of schema 1"):
        inspect_shards(built, tmp_path / "seen")
