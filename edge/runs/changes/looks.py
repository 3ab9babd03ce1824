"""Looks: where a thing of one run would have to be in a frame of the other, and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.runs.changes.things import Floats, Side, Thing


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """K looks.

    thing  (K,) number of the thing
    frame  (K,) index of the frame that looks
    at     (K, 2) where in it the thing would be, pixels
    reach  (K,) how far off it may be found, pixels
    """

    thing: NDArray[np.int64]
    frame: NDArray[np.int64]
    at: Floats
    reach: Floats

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, float, float, float]]) -> Looks:
        """From (thing, frame, x, y, reach)."""
        table = np.array(rows, np.float64).reshape(-1, 5)
        whole = table[:, :2].astype(np.int64)
        return cls(whole[:, 0], whole[:, 1], table[:, 2:4], table[:, 4])

    def hits(self, things: Sequence[Thing], side: Side) -> NDArray[np.bool_]:
        """(K,) whether the frame has a place of the thing's prompt there, firm or not."""
        hits = np.zeros(len(self.thing), np.bool_)
        known: dict[tuple[int, str], Floats] = {}
        for k, (thing, frame) in enumerate(zip(self.thing.tolist(), self.frame.tolist(), strict=True)):
            key = (frame, things[thing].prompt)
            if key not in known:
                known[key] = side.places(*key)
            hits[k] = bool((np.linalg.norm(known[key] - self.at[k], axis=1) <= self.reach[k]).any())
        return hits


def inverse(matrix: Floats) -> Floats:
    """The homography back; raises numpy's LinAlgError for one that has none."""
    back: Floats = np.linalg.inv(matrix).astype(np.float64)
    return back


def facing(matrix: Floats, point: Floats) -> Floats:
    """The same homography with the sign that puts a point (2,) on the near side of its horizon."""
    signed: Floats = matrix * np.sign(matrix[2, :2] @ point + matrix[2, 2])
    return signed


def transformed(matrix: Floats, points: Floats) -> Floats:
    """(N, 2) points through a (3, 3) homography; NaN for what lies beyond its horizon."""
    rows = points @ matrix[:, :2].T + matrix[:, 2]
    depth = rows[:, 2:]
    ahead: Floats = np.divide(rows[:, :2], depth, out=np.full((len(rows), 2), np.nan), where=depth > 1e-9)
    return ahead
