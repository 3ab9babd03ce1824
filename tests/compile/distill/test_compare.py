from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from compile.distill.compare import compare, compared, image_recalls, over_sets, pairs_told_apart
from training.evaluation.scenes import evaluate_retrieval
from training.evaluation.subject import open_subject
from training.recipe import Recipe


def test_a_difference_is_judged_image_by_image() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(5, 3, 200)  # images differ far more than the models do
    row = compared("figure", hard, hard - 0.2 + rng.normal(0, 0.1, 200))
    assert row.n == 200
    assert row.difference == pytest.approx(row.second - row.first)
    assert -0.23 < row.low < row.difference < row.high < -0.18


def test_every_set_counts_alike_however_many_images_it_has() -> None:
    row = over_sets("figure", [(np.zeros(1000), np.ones(1000)), (np.zeros(4), np.full(4, 3.0))])
    assert (row.n, row.first, row.second, row.difference) == (1004, 0, 2, 2)
    assert (row.low, row.high) == (2, 2)


def test_the_figures_are_those_of_the_evaluations(lite_teacher: Path, root: Path, recipe: Recipe) -> None:
    subject = open_subject(lite_teacher)
    recall = evaluate_retrieval(subject, root / "caps", "val").mean_recall
    assert image_recalls(subject, root / "caps").mean() == pytest.approx(recall)
    rows = compare(subject, subject, recipe.model_copy(update={"object_sets": recipe.object_sets[:1]}), root)
    names = ["count error, cars", "count error, mean of sets", "mean recall, caps", "pair accuracy, caps"]
    assert [row.name for row in rows] == names
    assert all((row.difference, row.low, row.high) == (0, 0, 0) for row in rows)
    assert rows[-2].first == pytest.approx(recall)


def test_blind_pairs_are_those_of_either_model(tmp_path: Path) -> None:
    """The first takes a and b for the same, the second b and c: neither tells its own pair apart."""
    names = ("a.png", "b.png", "c.png")
    entries = [
        {"filename": name, "split": "val", "sentences": [{"raw": name}], "imgid": number}
        for number, name in enumerate(names)
    ]
    (tmp_path / "dataset.json").write_text(json.dumps({"images": entries}))
    (tmp_path / "images").mkdir()
    for name in names:
        assert cv2.imwrite(str(tmp_path / "images" / name), np.zeros((8, 8, 3), np.uint8))
    texts = np.array([[1, 0, 0], [0.2, 1, 0.6], [0, 0, 1]])
    models = [
        SimpleNamespace(image_embeddings=lambda _, rows=rows: rows, text_embeddings=lambda _: texts)
        for rows in (np.eye(3)[[0, 0, 2]], np.eye(3)[[0, 2, 2]])
    ]
    told = pairs_told_apart(*models, tmp_path)  # type: ignore[arg-type]
    assert [part.tolist() for part in told] == [[0, 1, 0], [1, 1, 0]]  # (a, b), (a, c), (b, c)
