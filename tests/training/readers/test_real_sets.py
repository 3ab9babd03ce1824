"""Real sets against counts taken from their files by other means (grep, awk, a JSON query)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.readers import OBJECT_READERS, Findings, captions, detect_format
from training.samples import ObjectSample


def whole(folder: Path, form: str, split: str) -> tuple[tuple[str, ...], list[ObjectSample], Findings]:
    assert detect_format(folder) == form
    findings = Findings()
    names, samples = OBJECT_READERS[form](folder, split, findings)
    strict = OBJECT_READERS[form](folder, split)
    assert strict[0] == names
    assert [sample.path for sample in strict[1]] == [sample.path for sample in samples]
    for sample in samples:
        assert (sample.boxes()[:, :2] >= -0.01).all()
    return names, samples, findings


def test_visdrone_sample(data_root: Path) -> None:
    folder = data_root / "visdrone_sample"
    names, samples, findings = whole(folder, "visdrone", "all")
    lines = [line for file in folder.glob("annotations/*.txt") for line in file.read_text().split()]
    cars = sum(line.split(",")[5] == "4" and line.split(",")[4] == "1" for line in lines)
    regions = sum(line.split(",")[4] == "0" for line in lines)
    assert len(samples) == 8
    assert sum(sample.counts(len(names))[names.index("car")] for sample in samples) == cars > 0
    assert sum(len(sample.ignored) for sample in samples) == regions > 0
    assert sum(len(sample.labels) for sample in samples) == len(lines) - regions
    assert len(findings) == 0


def test_auair_subset(data_root: Path) -> None:
    folder = data_root / "auair"
    names, samples, findings = whole(folder, "auair", "all")
    frames = json.loads((folder / "annotations.json").read_text())["annotations"]
    assert names == ("Human", "Car", "Truck", "Van", "Motorbike", "Bicycle", "Bus", "Trailer")
    assert len(samples) == len(frames) == 80
    assert sum(len(sample.labels) for sample in samples) == sum(len(frame["bbox"]) for frame in frames)
    told = [sample.telemetry for sample in samples if sample.telemetry is not None]
    assert len(told) == 80 - findings.counts().get("bad_telemetry", 0)
    # The recording was made over Aarhus, below the 30 m that its authors state (rounded up a little).
    assert all(abs(t.latitude - 56.2) < 0.1 and abs(t.longitude - 10.2) < 0.1 for t in told)
    assert all(0 < t.altitude < 31 for t in told)


@pytest.mark.parametrize(
    ("name", "form", "split", "images", "objects"),
    [
        ("vhr10", "coco", "test", 130, 932),
        ("aerial_cars", "yolo", "test", 20, 746),
        ("uav_sar", "yolo", "test", 100, 148),
        ("urban_trees", "points", "test", 60, 2937),
    ],
)
def test_sets_that_are_evaluated(
    data_root: Path, name: str, form: str, split: str, images: int, objects: int
) -> None:
    _, samples, findings = whole(data_root / name, form, split)
    assert (len(samples), sum(len(sample.labels) for sample in samples)) == (images, objects)
    assert set(findings.counts()) <= {"empty_annotation"}


def test_roads_are_the_foreground_of_binary_masks(data_root: Path) -> None:
    names, samples, findings = whole(data_root / "epfl_roads", "index_masks", "all")
    assert names == ("foreground",)
    assert len(samples) == 100
    assert all(sample.mask is not None and sample.mask.is_file() for sample in samples)
    assert np.concatenate([sample.sizes for sample in samples]).max() <= 400
    assert len(findings) == 0


def test_a_few_captions_and_scenes(data_root: Path) -> None:
    findings = Findings()
    assert len(captions.read_karpathy(data_root / "ucm_captions", "test", findings)) == 210
    assert len(captions.read_class_folders(data_root / "eurosat", findings)) == 2700
    assert len(findings) == 0
