"""Intersection over union by class, with intervals over images, and before against after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.dense_truth import UNASKED, Classes

Counts = NDArray[np.int64]

_RESAMPLES = 2000
_ENDS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class ClassOverlap:
    """One class: intersection over union of its pixels in all images, with a 95% interval over images.

    images: those that show it; truth, found: its share of the pixels that were asked about, 0 to 1. iou is
    None where no image shows the class, and the class then counts for no mean.
    """

    iou: float | None
    low: float | None
    high: float | None
    images: int
    truth: float
    found: float


@dataclass(frozen=True, slots=True)
class Overlaps:
    """miou: mean of the classes' IoU, with its 95% interval over images; accuracy: share of right pixels."""

    miou: float
    low: float
    high: float
    accuracy: float
    classes: dict[str, ClassOverlap]


@dataclass(frozen=True, slots=True)
class Compared:
    """One way to count pixels of other classes, see DenseReport; gain: miou after less before, paired."""

    before: Overlaps | None
    after: Overlaps
    gain: float | None
    gain_low: float | None
    gain_high: float | None


def confusion(truth: Classes, found: Classes, prompts: int) -> Counts:
    """Pixels by true (rows) and found class, (P + 1, P + 1); those that are not asked about are left out."""
    asked = truth != UNASKED
    pairs = truth[asked].astype(np.int64) * (prompts + 1) + found[asked]
    return np.bincount(pairs, minlength=(prompts + 1) ** 2).reshape(prompts + 1, prompts + 1)


def compared(confusions: Counts, names: tuple[str, ...]) -> Compared:
    """confusions: (1 or 2, N, C, C) by image, without and with rectification."""
    results = [overlaps(one, names) for one in confusions]
    if len(results) == 1:
        return Compared(None, results[0], None, None, None)
    before, after = results
    weights = _resamples(confusions.shape[1])
    first, second = (np.nanmean(_ious(one, weights), axis=1) for one in confusions)
    low, high = np.quantile(second - first, _ENDS)
    return Compared(before, after, after.miou - before.miou, float(low), float(high))


def overlaps(confusions: Counts, names: Sequence[str]) -> Overlaps:
    """Figures of confusions (N, C, C) by image, true classes as rows, at least one pixel in all."""
    iou = _ious(confusions, np.ones((1, len(confusions))))[0]
    resampled = _ious(confusions, _resamples(len(confusions)))
    total = confusions.sum(axis=0)
    pixels = max(int(total.sum()), 1)
    by_class = dict[str, ClassOverlap]()
    for number, name in enumerate(names):
        shown = int((confusions[:, number].sum(axis=1) > 0).sum())
        low, high = None, None
        if shown:
            low, high = (float(end) for end in np.nanquantile(resampled[:, number], _ENDS))
        by_class[name] = ClassOverlap(
            float(iou[number]) if shown else None,
            low,
            high,
            shown,
            int(total[number].sum()) / pixels,
            int(total[:, number].sum()) / pixels,
        )
    low, high = np.quantile(np.nanmean(resampled, axis=1), _ENDS)
    accuracy = int(np.trace(total)) / pixels
    return Overlaps(float(np.nanmean(iou)), float(low), float(high), accuracy, by_class)


def _resamples(images: int) -> NDArray[np.float64]:
    """(R, N) how often each image is drawn; the same draws for whatever is compared."""
    return np.random.default_rng(0).multinomial(images, [1 / images] * images, _RESAMPLES).astype(np.float64)


def _ious(confusions: Counts, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, C) IoU of every class in R resamples (R, N) of the images; NaN where one does not show it."""
    hits = weights @ np.diagonal(confusions, axis1=1, axis2=2)
    true, found = weights @ confusions.sum(axis=2), weights @ confusions.sum(axis=1)
    union = true + found - hits
    return np.where(true > 0, hits / np.where(union > 0, union, 1), np.nan)
