"""`train hyperspectral` and `eval hyperspectral`, end to end on a crop of a real scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge.cubes import Cube, Georeference
from firmware_cfg.errors import UsageError
from training.cli import app as train
from training.cli_eval import app as evaluate
from training.errors import DataError
from training.evaluation.hyperspectral_truth import read_truth
from training.hyperspectral.maps import NO_DATA, write_maps
from training.hyperspectral.zeroshot import DenseLabels

scipy_io = pytest.importorskip("scipy.io", reason="needs the extra hyperspectral")

NAMES = ["tree", "water", "soil", "road"]


@pytest.fixture(scope="module")
def crop(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 x 48 pixels of Jasper Ridge with water and trees, as a cube of three dimensions."""
    source = data_root / "hyperspectral" / "Jasper.mat"
    if not source.is_file():
        pytest.skip(f"{source}: no hyperspectral data here")
    scene = scipy_io.loadmat(source)
    cube = scene["Y"].reshape(198, 100, 100, order="F").transpose(1, 2, 0)
    path = tmp_path_factory.mktemp("cube") / "crop.mat"
    part = np.s_[20:60, 0:48]
    wavelengths = np.linspace(380, 2500, 198)  # near enough for a picture
    scipy_io.savemat(
        path,
        {"cube": cube[part], "S_GT": scene["S_GT"][part], "wavelengths": wavelengths},
        do_compression=True,
    )
    return path


def test_train_writes_maps_and_refuses_to_overwrite(crop: Path, tmp_path: Path) -> None:
    arguments = ["hyperspectral", "default", str(crop), "--variable", "cube", "--classes", ",".join(NAMES)]
    arguments += ["--scales", "1", "--views", "1", "--epochs", "1", "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "map.png" in done.stdout
    found = json.loads((tmp_path / "run" / "areas.json").read_text())
    assert [each["name"] for each in found["classes"]] == NAMES
    assert sum(each["pixels"] for each in found["classes"]) == 40 * 48
    assert np.load(tmp_path / "run" / "classes.npy").shape == (40, 48)
    with pytest.raises(UsageError, match="--resume"):
        CliRunner().invoke(train, arguments, catch_exceptions=False)
    resumed = CliRunner().invoke(train, [*arguments, "--resume"], catch_exceptions=False)
    assert resumed.exit_code == 0
    with pytest.raises(UsageError, match="seed differ"):
        CliRunner().invoke(train, [*arguments, "--resume", "--seed", "3"], catch_exceptions=False)


def test_eval_ends_in_one_object(crop: Path, tmp_path: Path) -> None:
    picture = tmp_path / "stages.png"
    arguments = ["hyperspectral", "default", str(crop), "--variable", "cube", "--classes", ",".join(NAMES)]
    arguments += ["--scales", "1", "--views", "1", "--epochs", "1", "--seeds", "2", "--plot", str(picture)]
    done = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    report = json.loads(done.stdout.splitlines()[-1])
    assert [stage["seeds"] for stage in report["stages"]] == [1, 1, 2]
    assert report["oa"] == pytest.approx(np.mean(report["stages"][2]["oa"]["seeds"]))
    assert report["n"] > 500
    assert picture.stat().st_size > 10_000


def test_classes_are_asked_for(crop: Path) -> None:
    with pytest.raises(UsageError, match="--classes"):
        CliRunner().invoke(train, ["hyperspectral", "default", str(crop), "-o", "x"], catch_exceptions=False)


def test_truth_of_a_label_map_is_told_by_its_values(tmp_path: Path) -> None:
    label = np.array([[0, 3, 7], [7, 7, 0]], np.uint8)
    scipy_io.savemat(tmp_path / "gt.mat", {"gt": label})
    truth = read_truth(tmp_path / "gt.mat", None, ["b", "a"], ["a", "b"], (2, 3))
    assert truth.label.tolist() == [[-1, 1, 0], [0, 0, -1]]
    assert truth.n == 4
    with pytest.raises(UsageError, match="2 classes, 3 are named"):
        read_truth(tmp_path / "gt.mat", None, ["a", "b", "c"], None, (2, 3))
    with pytest.raises(UsageError, match="which variable"):
        read_truth(tmp_path / "gt.mat", None, ["a", "b"], None, (5, 5))
    scipy_io.savemat(tmp_path / "none.mat", {"S_GT": np.full((2, 3, 2), 0.5)})
    with pytest.raises(DataError, match="no pixel is labelled"):
        read_truth(tmp_path / "none.mat", None, ["a", "b"], None, (2, 3))


def test_georeferenced_scenes_become_geotiffs(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="needs the extra train")
    valid = np.ones((10, 12), bool)
    valid[0, 0] = False
    place = Georeference("EPSG:32610", (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_000_000.0))
    cube = Cube(tmp_path / "c", np.ones((10, 12, 3), np.float32), np.array([450.0, 550, 650]), place, valid)
    probability = np.zeros((2, 10, 12), np.float32)
    probability[0, :, :6] = probability[1, :, 6:] = 1.0
    image = np.zeros((10, 12, 3), np.uint8)
    areas = write_maps(tmp_path, DenseLabels(probability), ["land", "sea"], cube, image)
    assert [(area.pixels, area.m2) for area in areas] == [(59, 59 * 400.0), (60, 60 * 400.0)]
    with rasterio.open(tmp_path / "classes.tif") as file:
        assert file.crs.to_epsg() == 32610
        assert file.transform.c == 500_000.0
        assert file.nodata == NO_DATA
        assert file.tags(1)["class_1"] == "sea"
        numbers = file.read(1)
    assert (numbers[0, 0], numbers[1, 0], numbers[1, 11]) == (NO_DATA, 0, 1)
