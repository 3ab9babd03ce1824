"""Does what a prompt finds look alike? Scores held against a second opinion that knows no words.

A place that the model gives to a prompt is backed if the places that look most like it, by a label-free
encoder, are what the model finds for that prompt too. Two models that were taught differently err
differently, so how often they agree tells, without a label, where scores can be trusted (Platanios et al.,
UAI 2014; Jiang et al., arXiv 2106.13799).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from edge.tune.calibrate import SHIFT_DEVIATION, SLOPE_DEVIATION
from edge.tune.scoring import log_odds, probability

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

LOOK_ALIKES = 5
"""So many of the nearest decide: of 5, 10 and 20 on VHR-10's test images 5 told right from wrong best."""
LEAST_FOUND = 15
"""Of fewer finds a curve over the score says nothing."""
LEAST_RISE = 0.3
"""A prompt's surest finds must be backed by so much more than chance, else the encoder does not know it."""
_SUREST = 0.25  # share of a prompt's finds
_RESAMPLES = 200
_LEAST_SLOPE = 0.05


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a prompt's scores stop being backed.

    chance: share of all units that the prompt finds, which is how far a find is backed that looks like any;
    surest: how far the quarter with the best scores is backed; score: from which on a unit is backed more
    than half as far above chance as those; low, high: its 95% interval over images.
    """

    chance: float
    surest: float
    score: float
    low: float
    high: float


def look_alikes(embedding: Floats, scene: Ints, k: int = LOOK_ALIKES) -> Ints:
    """(N, k) int64, the most similar units of other scenes, nearest first; -1 where there are fewer.

    Args:
        embedding: (N, W) unit rows.
        scene: (N,) whatever is equal for units that may show the very same thing.
    """
    cosine = np.array(embedding @ embedding.T, np.float64)
    cosine[scene[:, None] == scene] = -np.inf
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :k].astype(np.int64)
    nearest[~np.isfinite(np.take_along_axis(cosine, nearest, axis=1))] = -1
    return np.pad(nearest, ((0, 0), (0, k - nearest.shape[1])), constant_values=-1)


def support(neighbours: Ints, found: Bools) -> NDArray[np.float64]:
    """(N,) share of each unit's look-alikes that are found, 0..1; NaN for a unit without any."""
    there = neighbours >= 0
    hits = (found[neighbours] & there).sum(axis=1)
    total = there.sum(axis=1)
    return np.asarray(np.where(total > 0, hits / np.maximum(total, 1), np.nan), np.float64)


def find_cut(
    score: Floats, backed: Floats, found: Bools, chance: float, image: Ints, seed: int
) -> Cut | None:
    """From which score on a prompt's units are backed; None where the encoder does not tell.

    How far units are backed rises with the score's log-odds, from chance to what the surest finds have, along
    a logistic curve; the cut is its middle. The curve of greatest posterior is taken, with the prior that
    scores are calibrated, by which the middle lies at even odds (as `prompts tune` takes it).

    Args:
        score, backed, found: (n,) of the prompt's units, those below its threshold too.
        chance: see Cut.
        image: (n,) of each; images are what is drawn by chance.
        seed: of the interval's resamples.
    """
    told = np.isfinite(backed)
    score, backed, found, image = score[told], backed[told], found[told], image[told]
    if found.sum() < LEAST_FOUND or len(np.unique(image[found])) < 2:
        return None
    surest = _surest(score, backed, found)
    if surest - chance < LEAST_RISE:
        return None
    rng = np.random.default_rng(seed)
    images = np.unique(image)
    rows = [np.flatnonzero(image == one) for one in images]
    drawn = []
    for _ in range(_RESAMPLES):
        index = np.concatenate([rows[one] for one in rng.integers(0, len(images), len(images))])
        if found[index].any():
            top = _surest(score[index], backed[index], found[index])
            drawn.append(_middle(score[index], backed[index], chance, max(top, chance + LEAST_RISE)))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Cut(chance, surest, _middle(score, backed, chance, surest), float(low), float(high))


def _surest(score: Floats, backed: Floats, found: Bools) -> float:
    """How far the finds with the best scores are backed; one of them at least."""
    number = max(1, round(_SUREST * int(found.sum())))
    return float(backed[score >= np.sort(score[found])[-number]].mean())


def _middle(score: Floats, backed: Floats, chance: float, surest: float) -> float:
    """The score at the middle of the curve from chance to surest."""
    u = log_odds(np.asarray(score, np.float64))
    share = np.clip((backed - chance) / (surest - chance), 0, 1)
    centre, deviation = np.array([1.0, 0.0]), np.array([SLOPE_DEVIATION, SHIFT_DEVIATION])

    def objective(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z, away = line[0] * u + line[1], (line - centre) / deviation
        value = (np.logaddexp(0, z) - share * z).sum() + 0.5 * away @ away
        wrong = probability(z) - share
        return float(value), np.array([wrong @ u, wrong.sum()]) + away / deviation

    slope, shift = minimize(objective, centre, jac=True, bounds=((_LEAST_SLOPE, None), (None, None))).x
    return float(probability(-shift / slope))
