"""What a classifier said about images of one class each, and the figures that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import bootstrap_mean


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """Predictions on N >= 1 test images.

    Attributes:
        names: the C classes, in the order of their numbers.
        truth, predicted: (N,) int64 class numbers.
    """

    names: tuple[str, ...]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.truth)

    @property
    def top1(self) -> float:
        """Share of images whose class was found."""
        return float((self.truth == self.predicted).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95% bootstrap interval of top1."""
        return bootstrap_mean(self.truth == self.predicted)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(C, C) images by true class (row) and predicted class (column)."""
        classes = len(self.names)
        pairs = np.bincount(self.truth * classes + self.predicted, minlength=classes * classes)
        return pairs.reshape(classes, classes).astype(np.int64)

    @property
    def by_class(self) -> dict[str, float]:
        """Share found of each class that has images."""
        confusion = self.confusion
        truth = confusion.sum(axis=1)
        return {name: float(confusion[i, i] / truth[i]) for i, name in enumerate(self.names) if truth[i] > 0}

    def as_json(self) -> dict[str, Any]:
        """n, classes, top1 with its interval, and the share found by class."""
        low, high = self.interval
        return {
            "n": self.n,
            "classes": len(self.names),
            "top1": self.top1,
            "top1_low": low,
            "top1_high": high,
            "by_class": self.by_class,
        }
