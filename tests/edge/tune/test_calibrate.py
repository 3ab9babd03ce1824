"""Marks to bias and temperature: against an independent optimiser, and what must hold whatever the marks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from edge.tune.calibrate import (
    SHIFT_DEVIATION,
    SLOPE_DEVIATION,
    Line,
    best_threshold,
    fit,
    judge,
    leave_one_out,
)
from edge.tune.scoring import log_odds, probability, reaches

marks = st.lists(st.tuples(st.floats(-12, 12), st.booleans()), min_size=1, max_size=40)


@settings(max_examples=25)
@given(marks, st.floats(0.3, 3), st.floats(-4, 4))
def test_the_fit_is_the_greatest_posterior(
    pairs: list[tuple[float, bool]], slope: float, shift: float
) -> None:
    u, right = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    prior = Line(slope, shift)

    def loss(theta: np.ndarray) -> float:
        signed = np.where(right, 1, -1) * (theta[0] * u + theta[1])
        away = (theta - [slope, shift]) / [SLOPE_DEVIATION, SHIFT_DEVIATION]
        return float(np.logaddexp(0, -signed).sum() + 0.5 * away @ away)

    found = fit(u, right, prior)
    best = minimize(
        loss, [slope, shift], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}
    )
    if best.x[0] > 0.05 and abs(best.x[1]) < 20 * best.x[0]:  # else it is held where a list can say it
        assert loss(np.array([found.slope, found.shift])) <= best.fun + 1e-6
    assert found.slope >= 0.05


@given(marks)
def test_a_list_says_the_same_line(pairs: list[tuple[float, bool]]) -> None:
    line = fit(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), Line())
    same = Line.of(line.bias, line.temperature)
    if abs(line.shift / line.slope) < 20:
        assert (same.slope, same.shift) == pytest.approx((line.slope, line.shift))


def test_false_alarms_lower_the_scores_and_no_mark_changes_nothing() -> None:
    u = np.linspace(-1, 3, 9)
    assert fit(u[:0], np.zeros(0, bool), Line(0.8, 0.3)) == Line(0.8, 0.3)
    lowered = fit(u, np.zeros(9, bool), Line())
    assert (lowered(u) < u).all()


def test_one_mark_moves_less_than_many() -> None:
    one = fit(np.array([1.0]), np.array([False]), Line())
    many = fit(np.full(30, 1.0), np.zeros(30, bool), Line())
    assert 0 > one(np.array([1.0]))[0] - 1 > many(np.array([1.0]))[0] - 1


def test_a_mark_left_out_is_judged_by_the_others() -> None:
    u, right = np.array([-2.0, -1.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True, False])
    odds = leave_one_out(u, right, Line())
    without = fit(u[:4], right[:4], Line())
    assert odds[4] == pytest.approx(without(u)[4])
    assert judge(odds, right).right == np.mean((odds > 0) == right)


@given(st.lists(st.floats(-8, 8), max_size=300))
def test_at_the_threshold_as_many_are_found_as_are_expected(odds: list[float]) -> None:
    array = np.array(odds)
    threshold = best_threshold(array)
    p = probability(array)
    if threshold is None:
        assert (p < 0.5).all()
        return
    assert 0.05 <= threshold <= 0.95
    found, there = int(reaches(array, threshold).sum()), p[p >= 0.02].sum()
    # Ties, and a threshold in hundredths, may cost what lies within a hundredth of it.
    near = int((abs(p - threshold) <= 0.011).sum())
    if 0.05 < threshold < 0.95:
        assert abs(found - there) <= near + 1


@given(st.floats(0.0, 1.0))
def test_odds_and_scores_are_each_other_turned_over(score: float) -> None:
    assert float(probability(log_odds(score))) == pytest.approx(score, abs=2e-6)


def test_the_line_is_one_that_a_list_can_say() -> None:
    u = np.full(8, 4.9)
    line = fit(u, np.zeros(8, bool), Line())
    np.testing.assert_allclose(Line.of(line.bias, line.temperature)(u), line(u))
