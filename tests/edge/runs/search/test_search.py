"""`remoteclip search`: ranking, passages, what is kept of a folder, bad input; with a model of colours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge.cli import app
from edge.geo.pose import Pose, PoseAccuracy
from edge.runs.format import RunAbout
from edge.runs.reader import Run
from edge.runs.search.find import search_runs
from edge.runs.search.hits import Hit
from edge.runs.search.images import ImageEmbedder, find_images
from edge.runs.search.query import embed_query
from edge.runs.search.rank import SAME_VIEW, rank, rank_passages
from edge.runs.search.sheet import captions
from edge.runs.writer import RunWriter
from edge.runtime import BundleRuntime
from firmware_cfg.errors import SourceError, UsageError

POSE = Pose(46.5, 7.25, 80.0, 10.0, -90.0, 0.5, PoseAccuracy(1.5, 2.0, 3.0, 1.0))
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
BOX = (8.0, 8.0, 24.0, 24.0)
LIST = b"version: 1\nprompts:\n  - {id: red, text: red}\n  - {id: blue, text: blue}\n"


def paint(path: Path, colour: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((64, 64, 3), colour[::-1], np.uint8))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of three colours, one below, and one that is none."""
    for name, colour in (("a.png", RED), ("b.png", GREEN), ("below/c.png", BLUE)):
        paint(tmp_path / "pictures" / name, colour)
    (tmp_path / "pictures" / "broken.png").write_bytes(b"not a picture")
    return tmp_path / "pictures"


def search(tiny_bundle, *arguments) -> object:
    options = ["--bundle", str(tiny_bundle.path), "--engine", "onnxruntime"]
    return CliRunner().invoke(app, ["search", *map(str, arguments), *options])


def test_a_folder_is_ranked_and_shown(tiny_bundle, folder, tmp_path, caplog):
    sheet = tmp_path / "sheet.png"
    result = search(tiny_bundle, "blue", folder, "--json", "-o", sheet)
    assert result.exit_code == 0, result.output
    hits = json.loads(result.stdout)["hits"]
    assert Path(hits[0]["path"]).name == "c.png"
    assert [hit["cosine"] for hit in hits] == sorted((hit["cosine"] for hit in hits), reverse=True)
    assert len(hits) == 3  # the broken one is told and left out
    assert "broken.png" in caplog.text
    pixels = cv2.imread(str(sheet))
    assert pixels[100, 100].tolist() == [255, 0, 0]  # blue, as OpenCV has it


def test_what_was_computed_is_kept_until_the_file_changes(tiny_bundle, folder, tmp_path):
    model = BundleRuntime(tiny_bundle, "onnxruntime")
    paths = [path for path in find_images(folder) if path.name != "broken.png"]
    with ImageEmbedder(model, ("m",), tmp_path) as embedder:
        _, first = embedder.embed(paths)
    with ImageEmbedder(model, ("m",), tmp_path) as embedder:
        _, again = embedder.embed(paths)
        assert embedder._engines == {}  # nothing had to run
        np.testing.assert_array_equal(first, again)
        paint(paths[0], BLUE)
        os.utime(paths[0], (1, 1))
        _, changed = embedder.embed(paths)
        assert len(embedder._engines) == 1
    assert not np.allclose(changed[0], first[0])
    with ImageEmbedder(model, ("another model",), tmp_path) as embedder:
        embedder.embed(paths)
        assert len(embedder._engines) == 1


def test_an_interruption_keeps_what_was_done(tiny_bundle, folder, tmp_path):
    model = BundleRuntime(tiny_bundle, "onnxruntime")
    paths = [path for path in find_images(folder) if path.name != "broken.png"]

    def interrupt() -> None:
        raise KeyboardInterrupt

    with ImageEmbedder(model, ("m",), tmp_path) as embedder, pytest.raises(KeyboardInterrupt):
        embedder.embed(paths, interrupt)
    with ImageEmbedder(model, ("m",), tmp_path) as embedder:
        embedder.embed(paths[:1])
        assert embedder._engines == {}


def test_a_damaged_cache_is_a_warning(tiny_bundle, folder, tmp_path, caplog):
    model = BundleRuntime(tiny_bundle, "onnxruntime")
    with ImageEmbedder(model, ("m",), tmp_path) as embedder:
        embedder.embed([folder / "a.png"])
    (file,) = tmp_path.glob("*.images")
    file.write_bytes(b"rubbish" * 1000)
    with ImageEmbedder(model, ("m",), tmp_path) as embedder:
        assert embedder.embed([folder / "a.png"])[1].shape == (1, 6)
    assert "embeddings of images are not kept" in caplog.text


def test_no_cache_folder_is_no_trouble(tiny_bundle, folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    result = search(tiny_bundle, "blue", folder)
    assert result.exit_code == 0, result.output
    assert "c.png" in result.stdout


@pytest.fixture
def run(tmp_path, about, make_result) -> Path:
    """Two seconds of red, two of green with a blue thing, with telemetry."""
    red, green, blue = (1, 0, 0, 0, 1, 1), (0, 1, 0, 1, 0, 1), (0, 0, 1, 1, 1, 0)
    with RunWriter.open(tmp_path / "runs", about, thumbnail_every_s=1.0) as writer:
        for number in range(40):
            writer.add(make_result(number, red if number < 20 else green, pose=POSE))
        thing = make_result(40, blue, [(3, "blue", 0.8, BOX)], ground=[(46.6, 7.3, 2.5)], pose=POSE)
        writer.add(thing)
    return writer.path


def test_a_run_is_ranked_by_passages_and_places(tiny_bundle, run, tmp_path):
    geojson, sheet = tmp_path / "hits.geojson", tmp_path / "sheet.jpg"
    result = search(tiny_bundle, "green", run.parent, "--json", "--geojson", geojson, "-o", sheet)
    assert result.exit_code == 0, result.output
    hits = json.loads(result.stdout)["hits"]
    assert [hit["kind"] for hit in hits] == ["frame", "frame", "frame", "place"]
    best, place = hits[0], hits[-1]
    assert (best["first_s"], best["last_s"]) == (2.0, 3.9)  # twenty frames, told once
    assert (best["latitude"], best["longitude"]) == (46.5, 7.25)
    assert (place["prompt"], place["track"], place["box"]) == ("blue", 3, list(BOX))
    assert (place["latitude"], place["h_acc_m"]) == (46.6, 2.5)
    features = json.loads(geojson.read_text())["features"]
    assert [each["geometry"]["coordinates"] for each in features][-1] == [7.3, 46.6]
    told = [(each["properties"]["kind"], each["properties"]["rank"]) for each in features]
    assert told == [("frame", 1), ("frame", 2), ("frame", 3), ("place", 1)]
    assert cv2.imread(str(sheet)).shape[0] < 400  # one row of four


def test_the_table_names_passages_and_places(tiny_bundle, run):
    result = search(tiny_bundle, "green", run)
    assert result.exit_code == 0, result.output
    assert "(2.0 to 3.9)" in result.stdout
    assert "blue 3, frame 40" in result.stdout

    assert "places  score  cosine  (not to be compared with the scores of pictures)" in result.stdout


def test_labels_of_a_sheet_differ_and_begin_with_what_tells(tmp_path):
    names = [f"frame_20190829091111_x_{number:07}.jpg" for number in range(300, 320)]
    common = "frame_20190829091111_x_00003"
    hits = [
        Hit("place", tmp_path, 0.94, 0.1, name=name, time_s=1.0, latitude=-44.955371, longitude=-110.644361,
            prompt="a very long name of a large vehicle", track=4711 + number)
        for number, name in enumerate(names)
    ]  # fmt: skip
    labels = [captions("place", rank, hit, common) for rank, hit in enumerate(hits, start=1)]
    assert all(len(line) <= 34 for label in labels for line in label)
    assert len({second for _, second in labels}) == len(names)
    assert labels[0][0].startswith("place 1: 0.94, a ")
    assert labels[0][0].endswith(" 4711")
    assert labels[0][1] == "-44.95537 -110.64436 ..00.jpg"
    image = Hit("image", tmp_path / "resisc" / f"{'long' * 20}_0042.jpg", 1.0, 0.2)
    assert captions("picture", 1, image, "")[1].startswith("resisc/lon..")
    assert captions("picture", 1, image, "")[1].endswith("_0042.jpg")
    video = Hit("frame", tmp_path, 0.5, 0.2, time_s=2.04)
    assert captions("picture", 2, video, "") == ("picture 2: 0.50", "2.0 s")


def test_a_run_of_unrelated_pictures_names_and_shows_each(tiny_bundle, folder, tmp_path):
    list_file, sheet, geojson = tmp_path / "list.yaml", tmp_path / "sheet.png", tmp_path / "hits.geojson"
    list_file.write_bytes(LIST)
    paint(folder / "d.png", BLUE)  # the third that can be read
    model = ["--bundle", str(tiny_bundle.path), "--engine", "onnxruntime"]
    words = ["count", str(folder), "--prompts", str(list_file), "--record", str(tmp_path / "runs"), *model]
    recorded = CliRunner().invoke(app, words)
    assert recorded.exit_code == 0, recorded.output
    result = search(tiny_bundle, "green", tmp_path / "runs", "--json", "-o", sheet, "--geojson", geojson)
    assert result.exit_code == 0, result.output
    pictures = [hit["name"] for hit in json.loads(result.stdout)["hits"] if hit["kind"] == "frame"]
    assert sorted(pictures) == ["a.png", "b.png", "d.png"]
    shown = cv2.imread(str(sheet))
    for place, name in enumerate(pictures):
        colour = {"a.png": RED, "b.png": GREEN, "d.png": BLUE}[name][::-1]
        np.testing.assert_allclose(shown[100, 100 + 264 * place], colour, atol=6)
    assert "not one of these has a position" in result.stderr
    assert f": {pictures[0]}" in search(tiny_bundle, "green", tmp_path / "runs").stdout


def test_a_passage_without_a_picture_shows_none_of_another(tiny_bundle, tmp_path, about, make_result):
    with RunWriter.open(tmp_path / "runs", about, thumbnail_every_s=2.0) as writer:
        writer.add(make_result(0, (1, 0, 0, 0, 1, 1)))
        writer.add(make_result(1, (0, 1, 0, 1, 0, 1)))
    model = BundleRuntime(tiny_bundle, "onnxruntime")
    query = embed_query("green", model.sentences)
    with Run(writer.path) as run:
        hits = search_runs([run], query, about.bundle_sha256, model.facts, model.calibration, 2)
        assert {hit.frame: hit.picture for hit in hits} == {0: run.frames()[0].row, 1: None}


def test_a_run_of_another_model_is_refused_with_the_mend(tiny_bundle, tmp_path, make_result):
    other = RunAbout("test", "f" * 64, 6, "2026-05-01T12:00:00+00:00")
    with RunWriter.open(tmp_path / "runs", other) as writer:
        writer.add(make_result(0))
    result = search(tiny_bundle, "green", writer.path)
    assert result.exit_code == 1
    assert "was recorded with model ffffffffffff, not" in result.stderr
    assert "--bundle" in result.stderr


def test_runs_without_frames_are_passed_over_unless_there_is_no_other(tiny_bundle, run, about):
    RunWriter.open(run.parent, about).close()
    assert search(tiny_bundle, "green", run.parent).exit_code == 0
    run.unlink()
    result = search(tiny_bundle, "green", run.parent)
    assert result.exit_code == 1
    assert "holds no frames" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"), [("", "is empty"), (" \t", "is empty"), ("red " * 2500, "the text tower reads 8")]
)
def test_a_text_that_cannot_be_read_is_refused(tiny_bundle, folder, text, said):
    result = search(tiny_bundle, text, folder)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr) < 300


def test_bad_places_to_search_are_named(tiny_bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    for where, said in (
        (tmp_path / "empty", "no recorded runs and no images"),
        (tmp_path / "nothing.run", "no such run"),
        (paint(tmp_path / "picture.png", RED), "not a recorded run"),
    ):
        result = search(tiny_bundle, "red", where)
        assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
    for sheet in ("sheet.pdf", "missing/sheet.jpg"):
        result = search(tiny_bundle, "red", tmp_path, "-o", tmp_path / sheet)
        assert result.exit_code == 2


def test_a_folder_of_broken_pictures_says_so(tiny_bundle, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no")
    with (
        ImageEmbedder(BundleRuntime(tiny_bundle, "onnxruntime"), ("m",), tmp_path) as embedder,
        pytest.raises(SourceError, match="not one of the images can be read"),
    ):
        embedder.embed([tmp_path / "x.jpg"])


def test_the_query_is_of_unit_length(tiny_bundle):
    model = BundleRuntime(tiny_bundle, "onnxruntime")
    assert np.linalg.norm(embed_query(" red\n", model.sentences)) == pytest.approx(1, abs=1e-5)
    with pytest.raises(UsageError):
        embed_query("\n", model.sentences)


vectors = st.lists(st.sampled_from(range(8)), min_size=1, max_size=40)


@given(vectors, st.integers(1, 50))
def test_passages_part_the_flight(directions, top):
    rows = np.eye(8, dtype=np.float32)[directions]
    query = np.linspace(1, 0, 8).astype(np.float32)
    passages = rank_passages(rows, query, top)
    covered = [index for each in passages for index in range(each.first, each.last + 1)]
    assert len(covered) == len(set(covered))
    cosines = [each.cosine for each in passages]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[0] == pytest.approx(float((rows @ query).max()))
    assert len(passages) <= top
    for each in passages:
        assert each.first <= each.index <= each.last
        assert (rows[each.first : each.last + 1] @ rows[each.index] >= SAME_VIEW).all()
    if top == 50:
        assert sorted(covered) == list(range(len(rows)))
    assert [each.index for each in rank(rows, query, top)] == np.argsort(-(rows @ query), kind="stable")[
        :top
    ].tolist()
