"""Which prompts are confused, by the shipped model and an encoder that sees nothing but colour."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.alerts.machine import AlertMachine
from edge.alerts.state import Transition
from firmware_cfg.errors import RemoteclipError, SourceError, UsageError
from firmware_cfg.prompt_list import PromptList, load_prompt_list
from training.blindpairs.places import Units, crop, spread
from training.blindpairs.prompts import blind_pairs, confusions
from training.blindpairs.review import write_review
from training.blindpairs.support import find_cut, look_alikes, support
from training.evaluation.frames import frame_of
from training.evaluation.subject import Subject, open_subject

PICTURES = Path(__file__).parents[3] / "compile" / "gate" / "probe" / "images"
LIST = """\
version: 1
image_size: [256, 256]
prompts:
  - id: vehicle       # what is looked for
    text: a vehicle seen from above
    threshold: 0.3
    alerts: [{when: count >= 1}]
  - {id: giraffe, text: a giraffe seen from above, threshold: 0.9}
  - {id: airport, kind: scene, text: an aerial image of an airport, threshold: 0.5}
background: [a roof]
"""


class ByColour:
    """Two finds look alike if they are of one colour."""

    name, width = "by-colour", 3

    def encode(self, images):
        assert all(image.dtype == np.uint8 for image in images)
        colour = np.stack([image.reshape(-1, 3).mean(axis=0) for image in images]).astype(np.float32) - 100
        return colour / np.linalg.norm(colour, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine of the gate's pictures: airplanes, ships and parked vehicles."""
    folder = tmp_path / "terrain"
    folder.mkdir()
    for name in ("apron", "parking", "ships"):
        for picture in sorted(PICTURES.glob(f"{name}_*.jpg")):
            shutil.copyfile(picture, folder / picture.name)
    return folder


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "colours.yaml"
    path.write_text(LIST)
    return path


@pytest.fixture
def subject() -> Subject:
    return open_subject("default")


def test_a_folder_is_examined_and_the_list_says_below_what_to_look(
    subject: Subject, folder: Path, listed: Path, tmp_path: Path
) -> None:
    report = confusions(subject, load_prompt_list(listed), folder, ByColour())
    assert [item.prompt for item in report.prompts] == ["vehicle", "giraffe", "airport"]
    vehicle, giraffe, _ = report.prompts
    assert (report.n, report.scenes) == (9, 9)
    assert vehicle.found >= 15
    assert vehicle.units > vehicle.found
    assert giraffe.verdict == "too few"
    report.write(tmp_path / "run")
    assert (
        json.loads((tmp_path / "run" / "confusions.json").read_text())["prompts"]["vehicle"]["found"]
        == vehicle.found
    )
    vehicle = replace(vehicle, verdict="look below", review_below=0.7)
    report = replace(report, prompts=(vehicle, *report.prompts[1:]))
    loaded = load_prompt_list(listed)
    assert "+    review_below: 0.7" in write_review(report, loaded, write=False)
    assert listed.read_text() == LIST
    write_review(report, loaded, write=True)
    assert listed.read_text() == LIST.replace("threshold: 0.3\n", "threshold: 0.3\n    review_below: 0.7\n")
    raised = _raised(subject, load_prompt_list(listed).model, folder)
    assert {alert.certainty for alert in raised} == {"possible", "observed"}
    assert all((alert.certainty == "possible") == (alert.score < 0.7) for alert in raised)
    with pytest.raises(RemoteclipError, match="is not the list that was examined"):
        write_review(report, load_prompt_list(listed), write=True)


def _raised(subject: Subject, prompts: PromptList, folder: Path) -> list[Transition]:
    """The alerts that the drone's pipeline raises, every image on its own."""
    raised = []
    with subject.pipeline(prompts, (256, 256)) as pipeline:
        for path in sorted(folder.iterdir()):
            result = pipeline.process(frame_of(path, 0))
            raised += AlertMachine(prompts).update(result.counts, result.tracks, 0.0)
    return raised


def test_what_cannot_be_compared_is_one_clear_error(subject: Subject, folder: Path, listed: Path) -> None:
    loaded = load_prompt_list(listed)
    with pytest.raises(UsageError, match="a checkpoint's scores are not the drone's"):
        confusions(replace(subject, kind="checkpoint"), loaded, folder, ByColour())
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    with pytest.raises(RemoteclipError, match="one image cannot be compared"):
        confusions(subject, loaded, folder, ByColour())
    (folder / "again.png").write_bytes(next(folder.iterdir()).read_bytes())
    with pytest.raises(RemoteclipError, match="near-duplicates of one another"):
        confusions(subject, loaded, folder, ByColour())
    for path in folder.iterdir():
        path.write_bytes(b"\xff\xd8\xff\xe0 torn")
    with pytest.raises(RemoteclipError, match="not one of 2 images can be read"):
        confusions(subject, loaded, folder, ByColour())
    for number, path in enumerate(sorted(folder.iterdir())):
        assert cv2.imwrite(str(path), np.full((64, 64, 3), 60 * number, np.uint8))
    with pytest.raises(RemoteclipError, match="near-duplicates of one another"):
        confusions(subject, loaded, folder, ByColour())
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(SourceError, match="no images in this folder"):
        confusions(subject, loaded, folder, ByColour())


def test_look_alikes_are_of_other_scenes_and_as_many_as_there_are() -> None:
    angle = np.radians([0, 1, 10, 90])
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    neighbours = look_alikes(rows, np.array([0, 0, 1, 2]), k=3)
    assert neighbours.tolist() == [[2, 3, -1], [2, 3, -1], [1, 0, 3], [2, 1, 0]]
    share = support(neighbours, np.array([True, False, True, False]))
    assert share.tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 3, 2 / 3])
    assert np.isnan(support(np.full((1, 2), -1), np.array([True]))).all()


def test_the_cut_lies_where_backing_rises() -> None:
    score = np.linspace(0.05, 0.99, 120)
    image = np.arange(120) % 20
    found = score >= 0.3
    for where in (0.55, 0.75):
        cut = find_cut(score, np.where(score > where, 0.9, 0.1), found, 0.1, image, 0)
        assert cut is not None
        assert cut.score == pytest.approx(where, abs=0.08)
        assert cut.low <= cut.score <= cut.high
        assert cut.surest == pytest.approx(0.9)
    assert find_cut(score, np.full(120, 0.2), found, 0.1, image, 0) is None  # not told apart
    assert find_cut(score, np.ones(120), score > 0.95, 0.1, image, 0) is None  # too few
    assert find_cut(score, np.ones(120), found, 0.1, np.zeros(120, np.int64), 0) is None  # one image


def test_blind_pairs_score_the_same_and_look_unalike() -> None:
    rows = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], np.float32)
    score = np.array([[0.8], [0.82], [0.5], [0.0]])
    units = Units(
        ids=("red",),
        score=score,
        found=score > 0.4,
        odds=score,
        image=np.arange(4),
        scene=np.arange(4),
        box=np.zeros((4, 4), np.float32),
        embedding=rows,
    )
    same, pairs = blind_pairs(units, 0)
    assert same == 1
    assert [(pair.first, pair.second, pair.cosine) for pair in pairs] == [(0, 1, 0.0)]


@given(st.lists(st.tuples(st.floats(0.05, 1), st.booleans()), max_size=60), st.integers(1, 40))
def test_spread_keeps_both_ends_of_the_scores(units: list[tuple[float, bool]], most: int) -> None:
    score = np.array([value for value, _ in units])
    found = np.array([value for _, value in units], bool)
    index = spread(score, found, most)
    assert len(index) == min(most, len(units)) == len(set(index.tolist()))
    if found.any() and most > 1:
        assert score[index].max() >= score[found].max() or found[index].sum() == 0


def test_a_crop_lies_inside_of_the_image() -> None:
    pixels = np.arange(40 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 60, 3)
    assert crop(pixels, np.array([50, 30, 58, 38])).shape == (32, 32, 3)
    assert (crop(pixels, np.array([50, 30, 58, 38])) == pixels[8:, 28:]).all()
    assert crop(pixels, np.array([0, 0, 60, 40])).shape == (40, 60, 3)
