from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.intervals import bootstrap, bootstrap_mean, bootstrap_ratio


def test_the_interval_of_a_mean_is_the_one_of_theory() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(5.0, 2.0, 400)
    low, high = bootstrap_mean(values)
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - error, abs=0.04)
    assert high == pytest.approx(values.mean() + error, abs=0.04)


def test_many_images_are_resampled_in_parts() -> None:
    values = np.tile([0.0, 1.0], 4_000)
    low, high = bootstrap_mean(values)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / np.sqrt(len(values)), abs=1e-3)
    assert high == pytest.approx(0.5 + 1.96 * 0.5 / np.sqrt(len(values)), abs=1e-3)


def test_a_ratio_weighs_images_by_their_denominators() -> None:
    # Ten images with one text each, all found; one with ninety, none found: a tenth of all texts.
    found, texts = [1] * 10 + [0], [1] * 10 + [90]
    low, high = bootstrap_ratio(found, texts)
    assert low < 0.1 < high
    assert high == 1.0  # a third of all resamples lack the large one
    assert bootstrap_ratio([2, 2], [4, 4]) == (0.5, 0.5)


def test_resamples_that_say_nothing_are_left_out() -> None:
    assert bootstrap_ratio([3, 0], [4, 0]) == (0.75, 0.75)


def test_any_figure_of_the_images_can_have_an_interval() -> None:
    values = np.arange(50.0)
    low, high = bootstrap(50, lambda index: np.median(values[index], axis=1))
    assert 10 < low < 24.5 < high < 40
    assert (low, high) == bootstrap(50, lambda index: np.median(values[index], axis=1))
