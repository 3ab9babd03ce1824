from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.bundle import Bundle, load_bundle
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.errors import RemoteclipError
from training.cli_eval import app
from training.errors import DataError
from training.evaluation.count import evaluate_count
from training.evaluation.scenes import evaluate_retrieval, evaluate_zeroshot


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The shipped bundle's folder; caches of engines and sentences stay in the tests' own folder."""
    folder = default_bundle_path()
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"no bundle at {folder} yet: compile one, or install a release")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMOTECLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield folder


@pytest.fixture(scope="module")
def bundle(shipped: Path) -> Bundle:
    return load_bundle(shipped)


def test_counting_reports_every_class_against_the_truth(bundle: Bundle, synthetic_root: Path) -> None:
    report = evaluate_count(bundle, synthetic_root / "coco_set", "test")
    assert (report.dataset, report.split, report.n) == ("coco_set", "test", 1)
    assert set(report.classes) == {"ship", "plane"} or set(report.classes) == {"ship"}
    ship = report.classes["ship"]
    assert ship.truth == 1
    assert ship.mae == abs(ship.total - ship.truth)
    assert ship.mae_low == ship.mae == ship.mae_high
    assert ship.exact == float(ship.mae == 0)
    assert 0.02 <= ship.threshold < 0.98
    # Thresholds are chosen on validation images: counting there is at least as good as silence.
    on_validation = evaluate_count(bundle, synthetic_root / "coco_set", "val")
    assert on_validation.classes["ship"].mae <= 1


def test_points_masks_and_yolo_boxes_are_counted_too(bundle: Bundle, synthetic_root: Path) -> None:
    classes = {"yolo_set": "vehicle", "mask_set": "person", "point_set": "point"}
    for name, label in classes.items():
        report = evaluate_count(bundle, synthetic_root / name, "test")
        assert report.classes[label].truth == 1


def test_zero_shot_of_class_folders_and_of_captions(bundle: Bundle, synthetic_root: Path) -> None:
    report = evaluate_zeroshot(bundle, synthetic_root / "folder_set")
    assert (report.n, report.classes) == (4, 2)
    assert report.top1 in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert report.top1_low <= report.top1 <= report.top1_high
    assert evaluate_zeroshot(bundle, synthetic_root / "caps", "test").n == 3


def test_retrieval_reports_six_recalls_and_their_mean(bundle: Bundle, synthetic_root: Path) -> None:
    report = evaluate_retrieval(bundle, synthetic_root / "caps", "test")
    assert report.n == 3
    document = report.as_json()
    recalls = [document[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10)]
    assert document["mean_recall"] == pytest.approx(sum(recalls) / 6)
    assert document["i2t_r10"] == document["t2i_r10"] == 1.0  # three images, six texts


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, r: evaluate_count(b, r / "caps", "test"), "holds no boxes or points to count"),
        (lambda b, r: evaluate_count(b, r / "yolo_set", "night"), "night: no such folder"),
        (lambda b, r: evaluate_zeroshot(b, r / "yolo_set"), "no whole-image classes"),
        (lambda b, r: evaluate_zeroshot(b, r / "caps", "night"), "no images in split night"),
        (lambda b, r: evaluate_retrieval(b, r / "caps", "night"), "no images in split night"),
        (lambda b, r: evaluate_retrieval(b, r / "folder_set", "test"), r"no dataset\*\.json"),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    bundle: Bundle, synthetic_root: Path, call: Callable[[Bundle, Path], object], message: str
) -> None:
    with pytest.raises(RemoteclipError, match=message):
        call(bundle, synthetic_root)


def test_counting_without_validation_images_is_refused(
    bundle: Bundle, built_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "unlisted").symlink_to(built_root / "yolo_set")
    with pytest.raises(RemoteclipError, match="no validation images"):
        evaluate_count(bundle, tmp_path / "unlisted", "test")


def test_the_command_prints_one_json_object_and_nothing_else(shipped: Path, synthetic_root: Path) -> None:
    runner = CliRunner()
    arguments = [str(shipped), str(synthetic_root / "folder_set"), "--json"]
    done = runner.invoke(app, ["zeroshot", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["n"] == 4
    table = runner.invoke(app, ["zeroshot", *arguments[:2]], catch_exceptions=False).stdout.splitlines()
    assert "folder_set" in "".join(table[:-1])
    assert json.loads(table[-1])["n"] == 4
    with pytest.raises(DataError, match="nowhere: no such folder"):
        runner.invoke(app, ["count", str(shipped), str(synthetic_root / "nowhere")], catch_exceptions=False)
