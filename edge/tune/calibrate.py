"""Marks -> bias and temperature, by logistic regression that trusts few marks little; and the threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.tune.scoring import F64, probability, reaches

Bools = NDArray[np.bool_]
SLOPE_DEVIATION = 0.5
SHIFT_DEVIATION = 2.0
"""Standard deviations of the prior: how far the line is expected to lie from the one in force."""
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.05, 0.95
LOWEST_SCORE = 0.02
"""What scores less is taken for nothing, and shown only where nothing scores more."""
_SLOPES = (0.05, 20.0)  # what a list's `temperature` may be, turned over
_SHIFT = 20.0


@dataclass(frozen=True, slots=True)
class Line:
    """Log-odds = slope * u + shift, with u the bundle's log-odds, before the list's bias and temperature."""

    slope: float = 1.0
    shift: float = 0.0

    @classmethod
    def of(cls, bias: float, temperature: float) -> Line:
        """From a list's two numbers: (u + bias) / temperature."""
        return cls(1 / temperature, bias / temperature)

    @property
    def bias(self) -> float:
        """The list's `bias`."""
        return float(np.clip(self.shift / self.slope, -_SHIFT, _SHIFT))

    @property
    def temperature(self) -> float:
        """The list's `temperature`."""
        return 1 / self.slope

    def __call__(self, u: F64) -> F64:
        return self.slope * u + self.shift


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well scores tell marks: mean negative log-likelihood (nats), and the share on the right side."""

    loss: float
    right: float


def fit(u: F64, positive: Bools, prior: Line) -> Line:
    """The line of greatest posterior: logistic regression with a Gaussian prior around `prior`.

    Newton's method; the objective is strictly convex. What a mark says holds wherever in the scores the marks
    were picked, since the regression is conditional on the score (see King and Zeng, 2001, on what is not).

    Args:
        u: (n,) the bundle's log-odds of the marked sightings.
        positive: (n,) what they were marked as.
        prior: the line in force.
    """
    design = np.stack([u, np.ones_like(u)], axis=1)
    centre = np.array([prior.slope, prior.shift])
    weight = np.diag([SLOPE_DEVIATION**-2, SHIFT_DEVIATION**-2])
    theta = centre.copy()
    value = _objective(theta, design, positive, centre, weight)
    for _ in range(50):
        p = probability(design @ theta)
        gradient = design.T @ (p - positive) + weight @ (theta - centre)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + weight
        step = np.linalg.solve(hessian, gradient)
        share = 1.0
        while True:
            tried = theta - share * step
            nearer = _objective(tried, design, positive, centre, weight)
            if nearer <= value or share < 1e-6:
                break
            share /= 2
        theta = tried
        done, value = value - nearer < 1e-12, nearer
        if done:
            break
    # Marks that are all wrong way round would turn the scores over; a list cannot say that.
    slope = float(np.clip(theta[0], *_SLOPES))
    return Line(slope, float(np.clip(theta[1], -_SHIFT * slope, _SHIFT * slope)))


def judge(odds: F64, positive: Bools, threshold: float = 0.5) -> Judgement:
    """Log-odds against marks; the threshold is a score."""
    signed = np.where(positive, odds, -odds)
    told_apart = reaches(odds, threshold) == positive
    return Judgement(float(np.logaddexp(0, -signed).mean()), float(told_apart.mean()))


def leave_one_out(u: F64, positive: Bools, prior: Line) -> F64:
    """(n,) log-odds of each mark by the line that the others give: what to expect of marks not yet made."""
    every = np.arange(len(u))
    return np.array([float(fit(u[every != i], positive[every != i], prior)(u[i])) for i in every])


def best_threshold(odds: F64) -> float | None:
    """The threshold, in hundredths, that counts right if the scores are true probabilities.

    There, false alarms and misses are expected to be equally many, so that as much is found as is there.
    Sightings below LOWEST_SCORE are taken for nothing: thousands of them would add up to phantoms. None where
    nothing is more likely than not: there is nothing to set one by.

    Args:
        odds: log-odds of a prompt's sightings.
    """
    p = np.sort(probability(odds))[::-1]
    p = p[p >= LOWEST_SCORE]
    if not len(p) or p[0] < 0.5:
        return None
    there = max(1, round(float(p.sum())))
    below = p[there] if there < len(p) else 0.0
    return round(float(np.clip((p[there - 1] + below) / 2, LOWEST_THRESHOLD, HIGHEST_THRESHOLD)), 2)


def _objective(theta: F64, design: F64, positive: Bools, centre: F64, weight: F64) -> float:
    signed = np.where(positive, 1.0, -1.0) * (design @ theta)
    away = theta - centre
    return float(np.logaddexp(0, -signed).sum() + 0.5 * away @ weight @ away)
