"""IDF1 by TrackEval's definition (as `trackers` carries it) and the error of the unique count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking.rivals import Tracked
from benchmarks.tracking.scenes import Shot

SIGHTINGS = 3
"""A true thing counts if it was in view this often: no tracker here confirms on fewer."""


@dataclass(slots=True)
class Score:
    """Collects a flight's frames."""

    truth: list[NDArray[np.int64]] = field(default_factory=list)
    tracked: list[NDArray[np.int64]] = field(default_factory=list)
    likeness: list[NDArray[np.float64]] = field(default_factory=list)
    seen: Counter[int] = field(default_factory=Counter)
    unique: set[int] = field(default_factory=set)

    def add(self, shot: Shot, tracked: Tracked) -> None:
        """One frame."""
        boxes, ids = tracked
        there = ~shot.hidden
        self.truth.append(shot.ids[there])
        self.tracked.append(ids)
        self.likeness.append(overlaps(shot.boxes[there], boxes))
        self.seen.update(shot.ids[there].tolist())
        self.unique.update(ids.tolist())

    @property
    def true_unique(self) -> int:
        """Things that were in view."""
        return sum(times >= SIGHTINGS for times in self.seen.values())

    @property
    def error(self) -> float:
        """Of the unique count, as a share of the true one: above 0 too many."""
        return len(self.unique) / self.true_unique - 1

    def idf1(self) -> float:
        """0 to 1."""
        from trackers.eval.identity import compute_identity_metrics

        return float(compute_identity_metrics(self.truth, self.tracked, self.likeness, 0.3)["IDF1"])


def overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes (N, 4) and (M, 4): (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(axis=1)
    iou: NDArray[np.float64] = common / np.maximum(area_a[:, None] + area_b - common, 1e-9)
    return iou
