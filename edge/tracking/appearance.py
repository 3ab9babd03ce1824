"""How alike a track and a place look: the model's own embeddings, measured against the frame they are in.

Embeddings of one class lie close together, and how close depends on the model and on the scene. So what
counts is not a cosine but how it compares with that of things in this frame that are not the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.tracking.state import Floats, Ints

if TYPE_CHECKING:
    from edge.lookup import Place

Looks: TypeAlias = NDArray[np.float32]  # (N, D), unit rows; all zero where a place has no embedding

_KEEP = 0.8
"""Share of a track's look that a new sighting leaves as it was."""
_FEW = 4


def looks_of(places: Sequence[Place], width: int) -> Looks:
    """(N, width) the first numbers of each place's embedding: the rest tell where it is in the frame."""
    looks: Looks = np.zeros((len(places), width), np.float32)
    for row, place in zip(looks, places, strict=True):
        if place.embedding is not None:
            row[:] = place.embedding[:width]
    return _unit(looks)


def strangeness(tracks: Looks, seen: Looks, t: Ints, s: Ints) -> Floats:
    """(K,) of each pair: 0 looks the same, 1 as different as two things of this frame usually do."""
    unknown = np.ones(len(t))
    known = _known(seen)
    if tracks.shape[1] == 0 or np.count_nonzero(known) < _FEW:
        return unknown
    some = seen[known]
    others = some @ some[len(some) // 2]
    usual = 1 - float(np.median(np.delete(others, len(some) // 2)))
    if usual <= 1e-6:
        return unknown
    alike = np.einsum("kd,kd->k", tracks[t], seen[s])
    strange = ((1 - alike) / usual).clip(0.0, 2.0)
    return np.where(known[s] & _known(tracks)[t], strange, unknown)


def blend(old: Looks, seen: Looks) -> Looks:
    """(K, D) what tracks look like after another sighting."""
    return _unit(np.where(_known(seen)[:, None], _KEEP * old + (1 - _KEEP) * seen, old))


def _known(looks: Looks) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = np.any(looks != 0, axis=1)
    return known


def _unit(looks: Looks) -> Looks:
    length = np.linalg.norm(looks, axis=1, keepdims=True)
    return np.asarray(looks / np.where(length > 0, length, 1.0), np.float32)
