from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_cfg.errors import RemoteclipError, UsageError
from training.evaluation.fewshot import drawn, evaluate_fewshot
from training.evaluation.knn import evaluate_knn
from training.evaluation.labelled import divide
from training.evaluation.linear import search
from training.evaluation.probe import evaluate_probe
from training.evaluation.scenes import best_ranks, evaluate_retrieval, evaluate_zeroshot
from training.evaluation.subject import Subject

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


class Palette:
    """Knows colours: an image is named after what it shows, `red_07.png`, or `red_06_like_blue.png`."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def image_embeddings(self, paths: list[Path], description: str = "") -> np.ndarray:
        rows = []
        for path in paths:
            number = sum(map(ord, path.name))
            colour = np.array(COLOURS[path.stem.split("_")[-1 if "like" in path.stem else 0]], np.float32)
            rows.append(colour + 0.05 * np.sin(np.arange(1, 4) * number))
        return unit(np.stack(rows))

    def text_embeddings(self, texts: list[str], description: str = "") -> np.ndarray:
        self.asked += texts
        return unit(np.array([next(COLOURS[c] for c in COLOURS if c in t) for t in texts], np.float32))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def palette() -> Subject:
    return Palette()  # answers what these evaluations ask of a subject


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three classes of 20; every fifth red image looks blue."""
    for colour in ("red", "green", "blue"):
        (tmp_path / "paint" / f"{colour}_things").mkdir(parents=True)
        for i in range(20):
            looks = "_like_blue" if colour == "red" and i % 5 == 1 else ""
            (tmp_path / "paint" / f"{colour}_things" / f"{colour}_{i:02}{looks}.png").touch()
    return tmp_path / "paint"


def looks_blue(folders: Path) -> int:
    """How many test images show blue and are labelled red: what no classifier can find."""
    missed = sum("like" in sample.path.name for sample in divide(folders).test)
    assert missed > 0
    return missed


def test_zero_shot_gives_every_image_the_class_that_its_sentences_are_like(
    palette: Subject, folders: Path, tmp_path: Path
) -> None:
    report = evaluate_zeroshot(palette, folders, protocol="remoteclip")
    assert palette.asked == [f"a satellite photo of {c} things." for c in ("blue", "green", "red")]
    document = report.as_json()
    assert (document["n"], document["classes"], document["split"]) == (60, 3, "all")
    assert document["top1"] == pytest.approx(56 / 60)
    assert document["by_class"] == {"blue_things": 1.0, "green_things": 1.0, "red_things": 0.8}
    assert document["top1_low"] < 56 / 60 < document["top1_high"] <= 1.0
    assert report.found.confusion.tolist() == [[20, 0, 0], [0, 20, 0], [4, 0, 16]]
    assert json.loads(json.dumps(document)) == document
    report.plot(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    with pytest.raises(UsageError, match="no prompt protocol 'ours'"):
        evaluate_zeroshot(palette, folders, protocol="ours")


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """Three images; the blue one has a sentence that fits the red one better."""
    sentences = {
        "red_1.png": ["a red roof", "something red"],
        "green_2.png": ["a green field", "something green", "trees on a green hill"],
        "blue_3.png": ["the blue sea", "a red boat"],
    }
    images = [
        {"filename": name, "split": "test", "sentences": [{"raw": text} for text in texts]}
        for name, texts in sentences.items()
    ]
    (tmp_path / "caps").mkdir()
    (tmp_path / "caps" / "dataset_caps.json").write_text(json.dumps({"images": images}))
    return tmp_path / "caps"


def test_retrieval_reports_six_recalls_and_their_mean(
    palette: Subject, captions: Path, tmp_path: Path
) -> None:
    report = evaluate_retrieval(palette, captions)
    document = report.as_json()
    assert (document["dataset"], document["n"], document["texts"]) == ("caps", 3, 7)
    assert [document[f"i2t_r{k}"] for k in (1, 5, 10)] == [1.0, 1.0, 1.0]
    assert [document[f"t2i_r{k}"] for k in (1, 5, 10)] == [pytest.approx(6 / 7), 1.0, 1.0]
    assert document["mean_recall"] == pytest.approx((5 + 6 / 7) / 6)
    assert document["t2i_r1_low"] < 6 / 7 < document["t2i_r1_high"] == 1.0
    assert document["mean_recall_low"] < document["mean_recall"] < document["mean_recall_high"] == 1.0
    report.plot(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    with pytest.raises(RemoteclipError, match="no images in split night"):
        evaluate_retrieval(palette, captions, "night")


def test_a_sentence_of_several_images_is_encoded_once(palette: Subject, captions: Path) -> None:
    document = json.loads((captions / "dataset_caps.json").read_text())
    for image in document["images"]:
        image["sentences"] = [{"raw": "a red roof"}, {"raw": "a red roof"}]
    (captions / "dataset_caps.json").write_text(json.dumps(document))
    report = evaluate_retrieval(palette, captions)
    assert palette.asked == ["a red roof"]
    # All six texts are equally similar to each image, so they rank in the order of the file.
    assert report.recalls["i2t_r1"] == pytest.approx(1 / 3)
    assert report.recalls["t2i_r1"] == pytest.approx(1 / 3)


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_ranks_are_those_of_sorted_answers(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(images), rng.integers(1, 4, images))
    similarity = rng.integers(0, 4, (images, len(owner))).astype(np.float32)  # with many ties
    of_image, of_text = best_ranks(similarity, owner)
    for image in range(images):
        order = sorted(range(len(owner)), key=lambda text: (-similarity[image, text], text))
        assert of_image[image] == min(order.index(text) for text in np.flatnonzero(owner == image))
    for text in range(len(owner)):
        order = sorted(range(images), key=lambda image: (-similarity[image, text], image))
        assert of_text[text] == order.index(owner[text])


def test_a_probe_learns_what_the_training_images_show(palette: Subject, folders: Path) -> None:
    report = evaluate_probe(palette, folders, candidates=3, epochs=60)
    document = report.as_json()
    assert (document["n_train"], document["n_val"], document["n"]) == (36, 12, 12)
    assert (document["candidates"], document["epochs"]) == (3, 60)
    missed = looks_blue(folders)
    assert document["top1"] == pytest.approx(1 - missed / 12)
    assert 0 < document["validation_top1"] <= 1


def test_neighbours_vote_and_validation_chooses_how_many(palette: Subject, folders: Path) -> None:
    report = evaluate_knn(palette, folders, k=3)
    document = report.as_json()
    missed = looks_blue(folders)
    assert document["top1"] == pytest.approx(1 - missed / 12)
    assert (document["k"], document["temperature"]) == (3, 0.07)
    best = max(document["validation_by_k"].values())
    assert document["validation_by_k"][str(document["chosen_on_validation"]["k"])] == best
    assert set(document["validation_by_k"]) == {"1", "2", "3", "5", "10", "20", "50", "100", "200"}


def test_few_shots_are_drawn_by_class_and_reported_with_zero_shot(palette: Subject, folders: Path) -> None:
    report = evaluate_fewshot(palette, folders, shots=(1, 2, 16), draws=2, candidates=2, epochs=40)
    document = report.as_json()
    missed = looks_blue(folders)
    assert (document["n"], document["draws"]) == (12, 2)
    assert document["zero_shot"] == pytest.approx(1 - missed / 12)
    assert list(document["shots"]) == ["1", "2", "16"]
    assert [shots["fewest"] for shots in document["shots"].values()] == [1, 2, 12]
    most = document["shots"]["16"]
    assert most["top1"] == pytest.approx(1 - missed / 12)
    assert most["spread"] == 0.0
    assert len(most["settings"]) == 2
    tried = [{"learning_rate": s.learning_rate, "weight_decay": s.weight_decay} for s in search(2)]
    assert all(setting in tried for setting in most["settings"])
    assert json.loads(json.dumps(document)) == document


def test_shots_are_of_every_class_and_differ_between_draws() -> None:
    labels = np.array([0] * 10 + [1] * 3)
    rng = np.random.default_rng(0)
    found = [drawn(labels, 4, rng) for _ in range(5)]
    assert all(np.bincount(labels[index]).tolist() == [4, 3] for index in found)
    assert len({tuple(index) for index in found}) > 1
