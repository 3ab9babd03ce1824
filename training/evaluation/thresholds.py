"""The threshold of least counting error on validation images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEARBY = 0.05
"""Share of the places that a threshold counts."""
_EDGE = 1e-7  # scores are float32: nearer to 0 or 1 there is nothing between two of them


def best_threshold(scores: Sequence[ArrayLike], truth: ArrayLike) -> tuple[float, float]:
    """The threshold that counts best, and its mean absolute error on these images.

    Every way to split the observed scores into counted and not counted is tried; the error of one that counts
    many is averaged with its neighbours', which count up to NEARBY more or fewer, so that the luck of single
    images does not choose. Of equally good ones that with the total nearest the truth is taken, and then the
    one with the widest gap between the lowest score that counts and the highest that does not; the threshold
    is the middle of the gap in log odds. Calibration is linear in log odds, so that two calibrations of one
    model choose thresholds that count the same.

    Args:
        scores: per image, the scores (0 to 1) of all its places of one class, in any order.
        truth: (len(scores),) true counts; at least one image.
    """
    true = np.asarray(truth, np.int64)
    ordered = [np.sort(np.asarray(image, np.float64).reshape(-1))[::-1] for image in scores]
    score = np.concatenate(ordered)
    rank = np.concatenate([np.arange(len(image)) for image in ordered])
    wanted = np.repeat(true, [len(image) for image in ordered])
    # An image's k-th best place brings its count nearer to the truth while there are k things or more.
    change = np.where(rank < wanted, -1, 1)
    order = np.argsort(-score, kind="stable")
    score, odds, change = score[order], log_odds(score[order]), change[order]
    error = true.sum() + np.concatenate(([0], np.cumsum(change)))
    distinct = np.concatenate(([True], odds[1:] < odds[:-1], [True])) if len(score) else np.array([True])
    typical = _smoothed(error)
    candidates = np.flatnonzero(distinct & (typical <= typical[distinct].min() + 1e-9))
    candidates = _nearest(candidates, np.abs(candidates - true.sum()))
    chosen = int(_nearest(candidates, [-_gap(odds, int(count)) for count in candidates])[0])
    if chosen == 0:
        threshold = 1.0
    elif chosen == len(score):
        threshold = float(score[-1])
    else:
        threshold = from_log_odds((odds[chosen - 1] + odds[chosen]) / 2)
    return threshold, float(error[chosen]) / len(true)


def log_odds(score: ArrayLike) -> NDArray[np.float64]:
    """Logarithm of score / (1 - score), finite at 0 and 1 too; any shape."""
    clipped = np.clip(np.asarray(score, np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def from_log_odds(value: float) -> float:
    """The score of a log odds."""
    return float(0.5 * (1 + np.tanh(0.5 * value)))


def _smoothed(error: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each entry's mean with its neighbours: those of entry i within NEARBY * i of it."""
    summed = np.concatenate(([0], np.cumsum(error)))
    at = np.arange(len(error))
    reach = (at * NEARBY).astype(np.int64)
    first, end = at - reach, np.minimum(at + reach + 1, len(error))
    return np.asarray((summed[end] - summed[first]) / (end - first))


def _nearest(candidates: NDArray[np.intp], cost: ArrayLike) -> NDArray[np.intp]:
    costs = np.asarray(cost, np.float64)
    return np.asarray(candidates[costs <= costs.min()])


def _gap(odds: NDArray[np.float64], count: int) -> float:
    """How far apart the last score counted and the first not counted are, when `count` are counted."""
    return float(odds[count - 1] - odds[count]) if 0 < count < len(odds) else 0.0
