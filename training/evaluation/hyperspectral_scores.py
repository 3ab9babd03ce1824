"""Overall accuracy, average accuracy and kappa of a class map, and their means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Labels: TypeAlias = NDArray[np.int64]

# Two-sided 95% quantiles of Student's t for 1 to 9 degrees of freedom; beyond that the normal one serves.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
_NORMAL = 1.96


@dataclass(frozen=True, slots=True)
class MapScore:
    """oa: share of pixels right; aa: mean of the classes' shares; kappa: beyond chance; recall: by class, NaN
    where the truth has none of it."""

    oa: float
    aa: float
    kappa: float
    recall: tuple[float, ...]


def score_map(found: Labels, truth: Labels, classes: int) -> MapScore:
    """Score of labels where the truth (same shape) is not -1. A class without truth leaves aa alone."""
    known = truth >= 0
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (truth[known], found[known]), 1)
    total, right, true = confusion.sum(), np.diag(confusion), confusion.sum(axis=1)
    chance = float(true @ confusion.sum(axis=0)) / total**2
    oa = float(right.sum() / total)
    recall = np.divide(right, true, out=np.full(classes, np.nan), where=true > 0)
    # With one class on both sides chance is 1 and agreement says nothing.
    kappa = (oa - chance) / (1 - chance) if chance < 1 else 0.0
    return MapScore(oa, float(np.nanmean(recall)), kappa, tuple(float(share) for share in recall))


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's scores, one a seed; a stage that draws nothing has one."""

    name: str
    scores: tuple[MapScore, ...]

    def figures(self, what: str) -> list[float]:
        """`oa`, `aa` or `kappa` of every seed."""
        return [getattr(score, what) for score in self.scores]

    def mean(self, what: str) -> float:
        """Over the seeds."""
        return float(np.mean(self.figures(what)))

    def interval(self, what: str) -> tuple[float, float]:
        """95% interval of the mean over seeds (Student's t)."""
        return seed_interval(self.figures(what))

    def recall(self) -> list[float | None]:
        """Of every class, the mean over seeds; None where the truth has none of it."""
        means = np.mean([score.recall for score in self.scores], axis=0)
        return [None if np.isnan(mean) else float(mean) for mean in means]

    def as_json(self) -> dict[str, Any]:
        """Part of the report."""
        figures = {
            what: {"mean": self.mean(what), "ci95": list(self.interval(what)), "seeds": self.figures(what)}
            for what in ("oa", "aa", "kappa")
        }
        return {"stage": self.name, "seeds": len(self.scores), **figures, "recall": self.recall()}


def seed_interval(figures: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean of one figure a seed; a single one, which no seed moves, is its own."""
    mean = float(np.mean(figures))
    if len(figures) < 2:
        return mean, mean
    degrees = len(figures) - 1
    student = _STUDENT[degrees - 1] if degrees <= len(_STUDENT) else _NORMAL
    half = student * float(np.std(figures, ddof=1)) / len(figures) ** 0.5
    return mean - half, mean + half
