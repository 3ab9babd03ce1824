"""The evaluations on drawn data by the shipped bundle, and their commands."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.errors import RemoteclipError, UsageError
from training import cli_eval
from training.cli_eval import app
from training.errors import DataError
from training.evaluation.count import evaluate_count
from training.evaluation.fewshot import DRAWS
from training.evaluation.knn import NEIGHBOURS, TEMPERATURE
from training.evaluation.linear import CANDIDATES, EPOCHS
from training.evaluation.scenes import evaluate_retrieval, evaluate_zeroshot
from training.evaluation.subject import Subject, open_subject


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
def subject(shipped: Path) -> Subject:
    return open_subject(shipped)


def test_objects_of_every_format_are_counted(subject: Subject, synthetic_root: Path) -> None:
    for name, label in {"coco_set": "ship", "mask_set": "person", "point_set": "point"}.items():
        report = evaluate_count(subject, synthetic_root / name, "test", image_size=(256, 256))
        assert (report.dataset, report.split, report.n) == (name, "test", 1)
        assert report.classes[label].truth == 1
        assert report.classes[label].mae == abs(report.classes[label].total - 1)


def test_whole_images_are_classified_and_their_captions_found(subject: Subject, synthetic_root: Path) -> None:
    report = evaluate_zeroshot(subject, synthetic_root / "folder_set")
    assert (report.n, report.classes) == (4, 2)
    assert report.top1_low <= report.top1 <= report.top1_high
    assert evaluate_zeroshot(subject, synthetic_root / "caps", "test").n == 3
    found = evaluate_retrieval(subject, synthetic_root / "caps", "test").as_json()
    assert found["n"] == 3
    assert found["i2t_r10"] == found["t2i_r10"] == 1.0  # three images, six texts
    assert found["mean_recall_low"] <= found["mean_recall"] <= found["mean_recall_high"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, r: evaluate_count(s, r / "caps", "test"), "holds no boxes or points to count"),
        (lambda s, r: evaluate_count(s, r / "yolo_set", "night"), "night: no such folder"),
        (lambda s, r: evaluate_zeroshot(s, r / "yolo_set"), "no whole-image classes"),
        (lambda s, r: evaluate_zeroshot(s, r / "caps", "night"), "no images in split night"),
        (lambda s, r: evaluate_retrieval(s, r / "caps", "night"), "no images in split night"),
        (lambda s, r: evaluate_retrieval(s, r / "folder_set", "test"), r"no dataset\*\.json"),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    subject: Subject, synthetic_root: Path, call: Callable[[Subject, Path], object], message: str
) -> None:
    with pytest.raises(RemoteclipError, match=message):
        call(subject, synthetic_root)


def test_the_command_prints_a_table_and_one_json_object_last(
    shipped: Path, synthetic_root: Path, tmp_path: Path
) -> None:
    runner = CliRunner()
    arguments = ["zeroshot", str(shipped), str(synthetic_root / "folder_set"), "--threads", "1"]
    quiet = runner.invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert quiet.exit_code == 0
    (line,) = quiet.stdout.splitlines()
    assert json.loads(line)["n"] == 4
    figure = tmp_path / "figure.png"
    table = runner.invoke(app, [*arguments, "--plot", str(figure)], catch_exceptions=False)
    lines = table.stdout.splitlines()
    assert "folder_set" in "".join(lines[:-1])
    assert json.loads(lines[-1]) == json.loads(line)
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_command_that_cannot_work_says_so_before_the_model_is_loaded(tmp_path: Path) -> None:
    runner = CliRunner()
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"figure\.gif: a figure is one of"):
        runner.invoke(app, ["probe", nowhere, nowhere, "--plot", "figure.gif"], catch_exceptions=False)
    with pytest.raises(UsageError, match="nowhere: no bundle and no checkpoint"):
        runner.invoke(app, ["fewshot", nowhere, nowhere], catch_exceptions=False)


def test_a_set_that_is_not_there_is_named(shipped: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    for command in ("count", "retrieval", "knn"):
        with pytest.raises(DataError, match="nowhere: no "):
            runner.invoke(app, [command, str(shipped), str(tmp_path / "nowhere")], catch_exceptions=False)


def test_the_options_defaults_are_those_of_the_functions() -> None:
    """Written out in the commands, which import nothing heavy before they run."""

    def default(command: Callable[..., None], option: str) -> object:
        return inspect.signature(command).parameters[option].default

    assert default(cli_eval.probe, "candidates") == default(cli_eval.fewshot, "candidates") == CANDIDATES
    assert default(cli_eval.probe, "epochs") == default(cli_eval.fewshot, "epochs") == EPOCHS
    assert (default(cli_eval.knn, "k"), default(cli_eval.knn, "temperature")) == (NEIGHBOURS, TEMPERATURE)
    assert default(cli_eval.fewshot, "draws") == DRAWS
