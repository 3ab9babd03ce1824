from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.thresholds import best_threshold, from_log_odds, log_odds

SCORES = st.floats(0.01, 0.99).map(lambda score: float(np.float32(score)))
IMAGES = st.lists(st.tuples(st.lists(SCORES, max_size=3), st.integers(0, 4)), min_size=1, max_size=6)


def error_at(threshold: float, scores: list[list[float]], truth: list[int]) -> float:
    counts = [sum(score >= threshold for score in image) for image in scores]
    return sum(abs(count - true) for count, true in zip(counts, truth, strict=True)) / len(truth)


@given(IMAGES)
def test_no_threshold_counts_better(images: list[tuple[list[float], int]]) -> None:
    scores, truth = [image for image, _ in images], [true for _, true in images]
    threshold, error = best_threshold(scores, truth)
    assert error == pytest.approx(error_at(threshold, scores, truth))
    every = sorted({score for image in scores for score in image})
    tried = [0.0, 1.0, *every, *(np.mean(pair) for pair in itertools.pairwise(every))]
    assert error <= min(error_at(t, scores, truth) for t in tried) + 1e-9


@given(IMAGES, st.floats(0.5, 2.0), st.floats(-1.0, 1.0), st.lists(SCORES, max_size=20))
def test_another_calibration_counts_the_same_also_on_other_images(
    images: list[tuple[list[float], int]], slope: float, offset: float, others: list[float]
) -> None:
    scores, truth = [image for image, _ in images], [true for _, true in images]

    def rescaled(score: float) -> float:
        return from_log_odds(slope * float(log_odds(score)) + offset)

    first, _ = best_threshold(scores, truth)
    second, _ = best_threshold([[rescaled(score) for score in image] for image in scores], truth)
    if 0 < first < 1:
        for score in others:
            if abs(float(log_odds(score) - log_odds(first))) > 1e-6:
                assert (score >= first) == (rescaled(score) >= second)


def test_the_widest_gap_of_equally_good_ones_is_taken() -> None:
    # Right are the thresholds between 0.8 and 0.3 alone.
    threshold, error = best_threshold([[0.9, 0.3], [0.8, 0.2]], [1, 1])
    assert error == 0
    assert threshold == pytest.approx(from_log_odds(float(log_odds(0.8) + log_odds(0.3)) / 2))


def test_of_equal_errors_the_one_with_the_right_total_is_taken() -> None:
    # Three things in the first image: counting one place is wrong by two, and so is counting all three
    # places, one of them in the other image; but their total is right.
    threshold, error = best_threshold([[0.9, 0.6], [0.8]], [3, 0])
    assert error == 1.0
    assert threshold == pytest.approx(0.6)


def test_the_luck_of_single_images_does_not_choose() -> None:
    # The error by how many places count: level, a short dip of three at 143, and from 202 to 262 two less.
    hit, miss = [1], [0]
    level = [*miss, *hit]
    truth = [*hit * 100, *level * 20, *hit * 3, *miss * 3, *level * 27, *hit * 2, *level * 30, *miss * 40]
    scores = [[score] for score in np.linspace(0.9, 0.1, len(truth))]
    threshold, error = best_threshold(scores, truth)
    counted = sum(score >= threshold for (score,) in scores)
    assert 202 <= counted <= 262
    dip = error_at(0.5 * (scores[142][0] + scores[143][0]), scores, truth)
    assert dip < error  # what a search of the least error alone would have taken


def test_a_class_that_is_never_seen_is_never_counted() -> None:
    assert best_threshold([[], []], [1, 2]) == (1.0, 1.5)
    assert best_threshold([[0.9], [0.9]], [0, 0]) == (1.0, 0.0)


def test_log_odds_are_finite_and_go_back() -> None:
    assert np.isfinite(log_odds([0.0, 1.0])).all()
    assert from_log_odds(float(log_odds(0.37))) == pytest.approx(0.37)
