from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from compile.gate.draw.scenes import SCENES
from compile.gate.probe import SHIPPED, load_probe, shipped_probe
from firmware_cfg.errors import RemoteclipError
from training.errors import DataError


def test_the_shipped_set_is_small_and_whole() -> None:
    probe = shipped_probe()
    assert sum(path.stat().st_size for path in probe.paths) < 400_000
    assert len(probe.paths) == len(list((SHIPPED / "images").iterdir())) == 41
    assert probe.task is not None
    assert len(probe.task.names) == 9
    truth = probe.task.truth(probe.task.samples)
    assert truth.sum() > 400
    assert (truth.sum(axis=0) > 0).all()
    assert (truth.sum(axis=1) == 0).sum() >= 5  # a model that sees things everywhere must lose there
    assert all(len(probe.sentences[path]) == 2 for path in probe.paths)
    licence = (SHIPPED / "README.md").read_text()
    assert "MIT" in licence
    assert "deepforest" in licence


def test_the_pictures_are_what_the_script_draws() -> None:
    probe = shipped_probe()
    assert probe.task is not None
    scene = next(scene for scene in SCENES if scene.name == "apron_0")
    canvas, sentences = scene.painted()
    kept = {path.stem: path for path in probe.paths}["apron_0"]
    sample = next(sample for sample in probe.task.samples if sample.path == kept)
    assert [probe.task.names[label] for label in sample.labels] == [thing.name for thing in canvas.things]
    np.testing.assert_allclose(sample.boxes(), [thing.box for thing in canvas.things], atol=0.11)
    assert probe.sentences[kept] == sentences
    stored = cv2.imread(str(kept), cv2.IMREAD_COLOR)
    assert stored is not None
    difference = stored[..., ::-1].astype(float) - canvas.picture()
    assert np.abs(difference).mean() < 6  # JPEG's own


def test_class_folders_and_captions_alone_are_read(tmp_path: Path) -> None:
    for name in ("beach", "pond"):
        (tmp_path / "classes" / name).mkdir(parents=True)
        shutil.copyfile(SHIPPED / "images" / f"{name}_0.jpg", tmp_path / "classes" / name / "a.jpg")
    classes = load_probe(tmp_path / "classes")
    assert (classes.name, len(classes.paths), classes.task, classes.sentences) == ("classes", 2, None, {})
    captions = load_probe(SHIPPED / "dataset.json")
    assert captions.task is None
    assert len(captions.sentences) == len(captions.paths) == 41


def test_a_folder_that_cannot_be_measured_on_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_probe(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no annotations that a reader knows"):
        load_probe(tmp_path)
    with pytest.raises(RemoteclipError, match=r"no images in split test .*--split"):
        load_probe(SHIPPED / "dataset.json", "test")
