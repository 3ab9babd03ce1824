"""The whole evaluation on drawn images: mining, asking, scoring, what a run leaves, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from firmware_cfg.errors import RemoteclipError, UsageError
from training.blindpairs.mining import Search, mine_pairs, score_set
from training.blindpairs.questions import Question
from training.blindpairs.set_file import read_set, write_set
from training.cli_eval_blindpairs import app
from training.errors import DataError

Draw = Callable[..., Path]
ANY = Search(t1=0.99, t2=0.6)


@pytest.fixture
def scenes(tmp_path: Path, draw: Draw) -> Path:
    """Two classes that differ in colours that the model does not see; one lake is bright on its left."""
    for number in range(4):
        draw(tmp_path / "scenes" / "meadow" / f"{number}.png", left=100 + number, green=200, blue=10)
        draw(tmp_path / "scenes" / "lake" / f"{number}.png", left=100 + number, green=10, blue=200)
    draw(tmp_path / "scenes" / "lake" / "far.png", left=250, right=0, green=10, blue=200)
    return tmp_path / "scenes"


def test_pairs_are_mined_where_model_and_encoder_disagree(
    model, encoder, scenes: Path, tmp_path: Path
) -> None:
    report = mine_pairs(model, scenes, encoder, ANY, tmp_path)
    assert report.mined is not None
    assert (report.mined.images, report.mined.blind) == (
        9,
        16,
    )  # every meadow with every lake but the far one
    assert len(report.found.pairs) == 1  # all others show near-copies of the same two things
    (pair,) = report.found.pairs
    assert {Path(name).parent.name for name in (pair.first, pair.second)} == {"meadow", "lake"}
    assert pair.model > 0.99
    assert pair.encoder < 0.6
    (question,) = report.found.questions
    assert question.pattern == "class"
    assert Path(pair.first).parent.name in question.first
    # Annotations tell apart all that the encoder does, of what the model calls the same only the mixed pairs.
    assert report.mined.told_apart_blind == 1.0
    assert report.mined.told_apart_same == pytest.approx(16 / 28)


def test_a_folder_without_annotations_gives_pairs_and_no_questions(model, encoder, scenes: Path) -> None:
    report = mine_pairs(model, scenes, encoder, Search(t1=0.99, t2=0.6, form="folder"))
    assert len(report.found.pairs) == 1
    assert report.accuracy is None
    document = report.as_json()
    assert document["n"] == 0
    assert "pair_accuracy" not in document


def test_a_run_leaves_set_picture_and_page_and_looks_only_once(
    model, encoder, scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    report = mine_pairs(model, scenes, encoder, ANY, out)
    report.write(out)
    assert read_set(out / "blindpairs.json") == report.found
    assert json.loads((out / "report.json").read_text()) == report.as_json()
    sheet = cv2.imread(str(out / "pairs.png"))
    assert sheet.shape[1] > sheet.shape[0] > 200
    assert (encoder.looked, len(model.looked)) == (9, 9)
    mine_pairs(model, scenes, encoder, Search(t1=0.9, t2=0.5), out)
    assert (encoder.looked, len(model.looked)) == (9, 9)
    model.sha256 = "1" * 64  # another model: the encoder's rows still hold
    mine_pairs(model, scenes, encoder, ANY, out)
    assert (encoder.looked, len(model.looked)) == (9, 18)


def test_a_hand_made_set_is_scored_again_wherever_its_images_are(model, draw: Draw, tmp_path: Path) -> None:
    for name, left, right in (("a.png", 200, 20), ("b.png", 20, 200)):
        draw(tmp_path / "moved" / name, left, right)
    made = tmp_path / "made.json"
    pairs = [{"first": "a.png", "second": "b.png", "model": 0.99, "encoder": 0.1}]
    questions = [
        {"pair": 0, "pattern": "light", "first": "light on the left", "second": "light on the right"},
        {"pair": 0, "pattern": "wrong", "first": "light on the right", "second": "light on the left"},
        {"pair": 0, "pattern": "blind", "first": "a lake", "second": "a meadow"},
    ]
    head = {
        "schema": "remoteclip/blindpairs/1",
        "folder": "gone",
        "model": "m",
        "encoder": "e",
        "t1": 0.9,
        "t2": 0.1,
    }
    made.write_text(json.dumps({**head, "pairs": pairs, "questions": questions}))
    report = score_set(model, made, tmp_path / "moved")
    assert report.accuracy is not None
    assert {name: a.accuracy for name, a in report.accuracy.patterns.items()} == {
        "light": 1.0,
        "wrong": 0.0,
        "blind": 0.0,
    }
    assert report.accuracy.patterns["wrong"].crossed == 1.0
    with pytest.raises(DataError, match=r"gone/a\.png: no such image .*--images"):
        score_set(model, made)
    made.write_text(json.dumps({**head, "pairs": pairs, "questions": []}))
    with pytest.raises(RemoteclipError, match="no questions"):
        score_set(model, made, tmp_path / "moved")


def test_no_pairs_say_which_thresholds_would_give_some(model, encoder, scenes: Path) -> None:
    with pytest.raises(
        RemoteclipError, match=r"no pair with model above 0\.990 .*--t2 (0\.\d\d) would"
    ) as failed:
        mine_pairs(model, scenes, encoder, Search(t1=0.99, t2=-0.5))
    t2 = float(str(failed.value).split("--t2 ")[1].split()[0])
    assert mine_pairs(model, scenes, encoder, Search(t1=0.99, t2=t2)).found.pairs


def test_useless_images_are_left_out_and_named(model, encoder, scenes: Path, draw: Draw) -> None:
    (scenes / "lake" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    whole = np.full((40, 40, 3), 77, np.uint8)
    assert cv2.imwrite(str(scenes / "lake" / "flat.png"), whole)
    report = mine_pairs(model, scenes, encoder, ANY)
    assert report.mined is not None
    assert report.mined.skipped == {
        "lake/flat.png": "shows one colour only",
        "lake/torn.jpg": "not an image that OpenCV reads",
    }


@pytest.mark.parametrize(("images", "said"), [(0, "no image in it"), (1, "a single image in it")])
def test_a_folder_needs_two_images(
    model, encoder, tmp_path: Path, draw: Draw, images: int, said: str
) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(images):
        draw(folder / f"{number}.png")
    with pytest.raises(RemoteclipError, match=said):
        mine_pairs(model, folder, encoder, ANY)


def test_constant_images_are_no_pair(model, encoder, tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for number in range(3):
        assert cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 40, 3), 80 * number, np.uint8))
    with pytest.raises(RemoteclipError, match=r"3 of 3 images are of no use.*0\.png shows one colour only"):
        mine_pairs(model, folder, encoder, ANY)


def test_bad_thresholds_and_folders_are_refused(model, encoder, tmp_path: Path) -> None:
    for search in (Search(t1=1.5), Search(t2=-2), Search(quantile=1.0)):
        with pytest.raises(UsageError, match=r"--t1|--t2|--quantile"):
            mine_pairs(model, tmp_path, encoder, search)
    with pytest.raises(DataError, match="no such folder"):
        mine_pairs(model, tmp_path / "absent", encoder, Search(form="folder"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["default"], "name DATA, or a prompt list"),
        (["default", "data", "--prompts", "list.yaml"], "name DATA, or a prompt list"),
        (["default", "--prompts", "list.yaml"], "--prompts needs --images"),
        (["default", "data", "--write"], "--write is for --prompts"),
    ],
)
def test_the_command_says_what_it_needs(words: list[str], said: str) -> None:
    ran = CliRunner().invoke(app, words)
    assert isinstance(ran.exception, UsageError)
    assert said in str(ran.exception)


def test_a_statement_of_the_set_cannot_become_markup_on_the_page(
    model, encoder, scenes: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    from training.blindpairs.page import render

    found = mine_pairs(model, scenes, encoder, ANY).found
    evil = "</script><script>alert(1)</script>"
    found = replace(found, questions=(Question(0, "class", evil, "b"),))
    page = render(found, None, "scenes")
    assert page.count("<script>") == 1
    assert page.count("</script>") == 2
    write_set(tmp_path / "set.json", found)
    document = json.loads(page.split('id="set">')[1].split("</script>")[0])
    assert document == json.loads((tmp_path / "set.json").read_text())
