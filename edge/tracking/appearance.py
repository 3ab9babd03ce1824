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
    if not width:
        return looks
    known = [row for row, place in enumerate(places) if place.embedding is not None]
    if known:
        of_known = [place.embedding[:width] for place in places if place.embedding is not None]
        looks[known if len(known) < len(places) else slice(None)] = of_known
    return _to_unit(looks)


def strangeness(tracks: Looks, seen: Looks, t: Ints, s: Ints) -> Floats:
    """(K,) of each pair: 0 looks the same, 1 as different as two things of this frame usually do."""
    unknown = np.ones(len(t))
    if not (tracks.shape[1] and len(t) and len(seen) >= _FEW):
        return unknown
    # One that has no embedding is all zero, and alike to nothing by exactly that.
    middle = len(seen) // 2
    others = np.delete(seen @ seen[middle], middle)
    others = others[others != 0]
    usual = 1 - float(np.median(others)) if len(others) >= _FEW - 1 else 0.0
    if usual <= 1e-6:
        return unknown
    alike = np.einsum("kd,kd->k", tracks[t], seen[s])
    strange = ((1 - alike) / usual).clip(0.0, 2.0)
    return np.where(alike == 0, unknown, strange)


def blend(looks: Looks, t: Ints, seen: Looks) -> None:
    """Tracks `t` (K,) were sighted again as `seen` (K, D); where that is not known they stay as they were."""
    mixed = looks[t]
    mixed *= _KEEP
    mixed += (1 - _KEEP) * seen
    looks[t] = _to_unit(mixed)


def _to_unit(looks: Looks) -> Looks:
    """Scales the rows in place; what is all zero stays so."""
    length = np.sqrt(np.einsum("nd,nd->n", looks, looks))
    length[length == 0] = 1.0
    looks /= length[:, None]
    return looks
