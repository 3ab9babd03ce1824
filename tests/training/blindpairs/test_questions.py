"""Scores of questions about pairs, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.blindpairs.questions import Pair, Question, choices, pair_accuracy, similarities


def _similarity(*rows: tuple[float, float, float, float]) -> np.ndarray:
    """Rows: first statement to first and second image, second statement to first and second image."""
    return np.array(rows).reshape(-1, 2, 2)


def test_a_question_is_right_only_if_both_statements_find_their_image() -> None:
    similarity = _similarity(
        (0.9, 0.1, 0.1, 0.9),  # both
        (0.9, 0.1, 0.9, 0.1),  # the first image whatever is said
        (0.1, 0.9, 0.1, 0.9),  # the second
        (0.1, 0.9, 0.9, 0.1),  # the wrong way round
    )
    assert choices(similarity).tolist() == [[True, True], [True, False], [False, True], [False, False]]
    found = pair_accuracy([Question(i, "count", "a", "b") for i in range(4)], similarity).overall
    assert (found.n, found.pairs, found.accuracy, found.crossed) == (4, 4, 0.25, 0.25)


def test_equally_similar_images_are_no_answer() -> None:
    assert not choices(_similarity((0.5, 0.5, 0.5, 0.5))).any()


def test_similarities_are_cosines_of_each_statement_to_each_image() -> None:
    pairs = [Pair("a.jpg", "b.jpg", 0.99, 0.1), Pair("b.jpg", "c.jpg", 0.98, 0.2)]
    images = {"a.jpg": np.array([1.0, 0.0]), "b.jpg": np.array([0.6, 0.8]), "c.jpg": np.array([0.0, 1.0])}
    texts = {"one": np.array([1.0, 0.0]), "two": np.array([0.0, 1.0])}
    found = similarities(pairs, [Question(1, "count", "one", "two")], images, texts)
    assert np.allclose(found, [[[0.6, 0.0], [0.8, 1.0]]])


def test_patterns_are_scored_apart_and_pairs_with_many_questions_are_one_draw() -> None:
    good, bad = (0.9, 0.1, 0.1, 0.9), (0.1, 0.9, 0.9, 0.1)
    questions = [
        Question(0, "count", "a", "b"),
        Question(0, "class", "a", "b"),
        Question(1, "count", "a", "b"),
    ]
    scored = pair_accuracy(questions, _similarity(good, good, bad))
    assert list(scored.patterns) == ["class", "count"]
    assert scored.patterns["count"].accuracy == 0.5
    assert (scored.overall.n, scored.overall.pairs) == (3, 2)
    assert scored.overall.accuracy == pytest.approx(2 / 3)
    # Two pairs drawn twice: none, one or both of them the good one.
    assert (scored.overall.low, scored.overall.high) == (0.0, 1.0)


@pytest.mark.parametrize("right", [True, False])
def test_an_interval_is_open_to_what_few_pairs_have_not_shown(right: bool) -> None:
    row = (0.9, 0.1, 0.1, 0.9) if right else (0.1, 0.9, 0.9, 0.1)
    n = 10
    found = pair_accuracy([Question(i, "class", "a", "b") for i in range(n)], _similarity(*[row] * n)).overall
    # Clopper and Pearson's interval for 10 of 10: from the p with p ** 10 = 0.025.
    low, high = (0.6915, 1.0) if right else (0.0, 0.3085)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_json_names_the_figure_and_what_guessing_gives() -> None:
    scored = pair_accuracy([Question(0, "class", "a", "b")], _similarity((0.9, 0.1, 0.1, 0.9)))
    document = scored.as_json()
    assert document["pair_accuracy"] == document["patterns"]["class"]["pair_accuracy"] == 1.0
    assert (document["chance"], document["n"], document["pairs"]) == (0.25, 1, 1)
    assert document["pair_accuracy_low"] == pytest.approx(0.025)
