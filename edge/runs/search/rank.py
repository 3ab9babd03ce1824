"""Ranking embeddings by a query, with what repeats itself in a flight told once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.engines.base import F32

SAME_VIEW = 0.95
"""Frames whose embeddings have at least this cosine show the same: about two seconds of a flight at 8 m/s."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One row of the answer: index of the embedding, its cosine with the query, -1 to 1, and the first and
    last index of the passage that it stands for."""

    index: int
    cosine: float
    first: int
    last: int


def rank(embeddings: F32, query: F32, top: int) -> list[Ranked]:
    """The best `top` of (N, D) unit embeddings for a (D,) query, best first; ties in their own order."""
    cosines = embeddings @ query
    order = np.argsort(-cosines, kind="stable")[:top].tolist()
    return [Ranked(index, float(cosines[index]), index, index) for index in order]


def rank_passages(embeddings: F32, query: F32, top: int) -> list[Ranked]:
    """The best `top` passages of a flight: the frames round the best one that show the same count as one.

    A passage is grown from its best frame in both directions while the frames stay SAME_VIEW to it, and ends
    at a better passage.

    Args:
        embeddings: (N, D) unit embeddings in the order of capture.
        query: (D,), of unit length.
        top: how many at most.
    """
    cosines = embeddings @ query
    taken = np.zeros(len(embeddings), np.bool_)
    passages: list[Ranked] = []
    for best in np.argsort(-cosines, kind="stable").tolist():
        if len(passages) == top:
            break
        if taken[best]:
            continue
        blocked = taken | (embeddings @ embeddings[best] < SAME_VIEW)
        blocked[best] = False
        before, after = np.flatnonzero(blocked[:best]), np.flatnonzero(blocked[best:])
        first = int(before[-1]) + 1 if len(before) else 0
        last = best + int(after[0]) - 1 if len(after) else len(embeddings) - 1
        taken[first : last + 1] = True
        passages.append(Ranked(best, float(cosines[best]), first, last))
    return passages
