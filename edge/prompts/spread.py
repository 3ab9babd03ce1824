"""Lists with more rows than the graph takes: which of them it gets, and the rest read at its places."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32, EngineOutput
from firmware_cfg.prompt_list import GRAPH_ROWS

if TYPE_CHECKING:
    from edge.prompts.bank import RowLayout
    from edge.runtime import ModelFacts

NO_PEAK = np.float32(-1e4)
"""What the graph answers for a row whose map has no peak at a place: below every logit."""
_NO_CEILING = np.float32(1e30)


@dataclass(frozen=True, slots=True, eq=False)
class SpreadRows:
    """G rows in the graph's dense lookup, all P of them at the M places that those find.

    A scene or background row is read where the graph would read it, so nothing is lost. Where there are more
    object rows than the graph takes, those in it stand for the others: a row counts where the map of the one
    nearest to it peaks, and a thing that none of them peaks at is not found.

    Attributes:
        rows: (G, D + E) float32, bias: (G,) float32; what the graph takes.
        stands_for: (number of object rows,) int64, the graph's row that stands for each, its own where it
            has one.
        weights: (D + E, P) float32, every row times the logit scale.
        offset: (P,) float32, added to every row's logits.
    """

    rows: F32
    bias: F32
    stands_for: NDArray[np.int64]
    weights: F32
    offset: F32

    @classmethod
    def of(cls, rows: F32, bias: F32, layout: RowLayout, facts: ModelFacts) -> SpreadRows | None:
        """How a bank's rows (P, D + E) with their bias (P,) are read; None where the graph takes them all."""
        if len(rows) <= GRAPH_ROWS:
            return None
        # What is alike in meaning stands for one another, wherever in the picture it is looked for.
        meaning = rows.copy()
        meaning[:, facts.embedding_width :] = 0
        objects = meaning[: layout.scene_begin]
        chosen = most_general(objects, GRAPH_ROWS) if len(objects) else np.zeros(1, np.int64)
        spread = cls(
            rows=np.ascontiguousarray(rows[chosen]),
            bias=bias[chosen],
            stands_for=(objects @ meaning[chosen].T).argmax(axis=1),
            weights=np.ascontiguousarray(rows.T) * np.float32(facts.logit_scale),
            offset=np.float32(facts.logit_bias) + (bias - layout.silence()),
        )
        for array in (spread.rows, spread.bias, spread.stands_for, spread.weights, spread.offset):
            array.setflags(write=False)
        return spread

    def logits(self, output: EngineOutput, index: int) -> F32:
        """(M, P) float32 logits of image `index`, as `place_logits` gives them; NO_PEAK as in the graph."""
        peaks = output.place_logit[index] > NO_PEAK / 2
        # By arithmetic: a masked copy of this many numbers takes longer than all the rest.
        ceiling = peaks.astype(np.float32)
        ceiling *= _NO_CEILING
        ceiling += NO_PEAK
        logits: F32 = output.place_embedding[index] @ self.weights
        logits += self.offset
        objects = logits[:, : len(self.stands_for)]
        np.minimum(objects, ceiling.take(self.stands_for, axis=1), out=objects)
        return logits


def most_general(rows: F32, count: int) -> NDArray[np.int64]:
    """Numbers, ascending, of the `count` rows that stand for all of them best.

    Greedy: each next row is the one that brings the rows, summed, nearest to the chosen one nearest to each
    (submodular, so at least 63% of what any choice would reach). `rows`: (P, D + E) float32, of unit length.
    """
    likeness = rows @ rows.T
    covered = np.full(len(rows), -1, np.float32)
    # A row's gain never grows as others are chosen: only the best of the old gains are computed anew.
    queue = [(-float(gain), row) for row, gain in enumerate((likeness + 1).sum(axis=1))]
    heapq.heapify(queue)
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows)):
        row = queue[0][1]
        gain = float(np.maximum(likeness[row] - covered, 0).sum())
        if heapq.heapreplace(queue, (-gain, row))[1] == row == queue[0][1]:
            heapq.heappop(queue)
            chosen.append(row)
            np.maximum(covered, likeness[row], out=covered)
    return np.array(sorted(chosen), np.int64)
