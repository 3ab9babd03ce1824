"""Finding blind pairs: images that the model's embedding calls the same while the encoder's does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32

Ints = NDArray[np.int64]

EXACT = 20_000
"""Up to so many images every pair is looked at; beyond, each image's nearest NEIGHBOURS in a graph (HNSW)."""
NEIGHBOURS = 128
NEAR_COPY = 0.9
"""Images that both the encoder and the model find so similar are taken for copies of one another."""
_SAMPLE = 2_000_000  # pairs that a quantile is read from
_BLOCK = 1024
_HINTED = 10  # pairs that the thresholds of a mend would give


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A pair is blind where the model's cosine is above t1 and the encoder's below t2."""

    t1: float
    t2: float


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Pairs of images i < j that the model finds more similar than t1, in order of (i, j); all (K,).

    model, encoder: the cosines.
    """

    i: Ints
    j: Ints
    model: F32
    encoder: F32

    def __len__(self) -> int:
        return len(self.i)

    def take(self, which: NDArray[Any]) -> Alike:
        """Those of an index or mask."""
        return Alike(self.i[which], self.j[which], self.model[which], self.encoder[which])

    def blind(self, t2: float) -> Alike:
        """Those that the encoder tells apart, the greatest difference of opinion first."""
        below = self.take(np.flatnonzero(self.encoder < t2))
        return below.take(np.argsort(below.encoder - below.model, kind="stable"))


def choose_thresholds(
    model: F32, encoder: F32, t1: float | None, t2: float | None, quantile: float, seed: int = 0
) -> Thresholds:
    """The thresholds given; else t1 is the model's quantile over all pairs, t2 the encoder's median.

    So the model puts a pair into its most similar share (1 - quantile) of all pairs while the encoder finds
    it no more alike than two images drawn at random.

    Args:
        model, encoder: unit embeddings (N, D) and (N, E), N >= 2.
        seed: of the pairs that are drawn where all of them are too many.
    """
    if t1 is not None and t2 is not None:
        return Thresholds(t1, t2)
    i, j = _drawn_pairs(len(model), seed)
    return Thresholds(
        float(np.quantile(_cosines(model, i, j), quantile)) if t1 is None else t1,
        float(np.quantile(_cosines(encoder, i, j), 0.5)) if t2 is None else t2,
    )


def alike(model: F32, encoder: F32, t1: float, *, exact: int = EXACT) -> Alike:
    """All pairs with a model cosine above t1; of more than `exact` images, those that the search meets."""
    blocks = _all_pairs(model, t1) if len(model) <= exact else _near_pairs(model, t1)
    parts = [(i, j, values) for i, j, values in blocks if len(i)]
    if not parts:
        none = np.zeros(0, np.int64)
        return Alike(none, none, np.zeros(0, np.float32), np.zeros(0, np.float32))
    i, j, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Alike(i, j, values, _cosines(encoder, i, j))


def select(
    found: Alike,
    model: F32,
    encoder: F32,
    most: int,
    *,
    per_image: int = 1,
    usable: Callable[[int, int], bool] | None = None,
) -> Alike:
    """At most `most` pairs in the order given, such that they are independent of one another.

    An image is in no more than `per_image` of them, and no pair repeats another one with near-copies of its
    images, as consecutive frames would. usable: which pairs may be taken at all; default: all.
    """
    taken: list[int] = []
    used: Counter[int] = Counter()
    copies = _Copies(model, encoder)
    for k, (i, j) in enumerate(zip(found.i.tolist(), found.j.tolist(), strict=True)):
        if len(taken) == most:
            break
        if max(used[i], used[j]) >= per_image or copies.known(i, j):
            continue
        if usable is not None and not usable(i, j):
            continue
        taken.append(k)
        used.update((i, j))
        copies.add(i, j)
    return found.take(np.array(taken, np.int64))


def other_thresholds(model: F32, encoder: F32, given: Thresholds, seed: int = 0) -> Thresholds | None:
    """What would give some pairs where the thresholds give none: another t1 with this t2, another t2 with t1.

    A field is NaN where nothing would; None where neither would.
    """
    i, j = _drawn_pairs(len(model), seed)
    m, e = _cosines(model, i, j), _cosines(encoder, i, j)
    apart, same = np.sort(m[e < given.t2])[::-1][:_HINTED], np.sort(e[m > given.t1])[:_HINTED]
    if not len(apart) and not len(same):
        return None
    # A hundredth beyond the pair, so that it is still inside once the number is typed with two decimals.
    t1 = np.floor(100 * apart[-1] - 0.01) / 100 if len(apart) else np.nan
    t2 = np.ceil(100 * same[-1] + 0.01) / 100 if len(same) else np.nan
    return Thresholds(float(t1), float(t2))


class _Copies:
    """Which pairs show what a taken one shows already."""

    def __init__(self, model: F32, encoder: F32) -> None:
        self._embeddings = (model, encoder)
        self._near: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = []

    def add(self, i: int, j: int) -> None:
        self._near.append((self._copies(i), self._copies(j)))

    def known(self, i: int, j: int) -> bool:
        return any((a[i] and b[j]) or (a[j] and b[i]) for a, b in self._near)

    def _copies(self, image: int) -> NDArray[np.bool_]:
        model, encoder = (rows @ rows[image] > NEAR_COPY for rows in self._embeddings)
        return np.asarray(model & encoder, np.bool_)


def _cosines(rows: F32, i: Ints, j: Ints) -> F32:
    """Of the pairs (K,), a block at a time."""
    found = np.empty(len(i), np.float32)
    step = _BLOCK * _BLOCK // 4
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        found[part] = np.einsum("kd,kd->k", rows[i[part]], rows[j[part]])
    return found


def _drawn_pairs(images: int, seed: int) -> tuple[Ints, Ints]:
    """All pairs i < j, or as many drawn at random as a quantile needs."""
    if images * (images - 1) // 2 <= _SAMPLE:
        i, j = np.triu_indices(images, 1)
        return i.astype(np.int64), j.astype(np.int64)
    rng = np.random.default_rng(seed)
    i, j = rng.integers(0, images, (2, _SAMPLE))
    j = np.where(i == j, (j + 1) % images, j)
    return np.minimum(i, j), np.maximum(i, j)


def _all_pairs(model: F32, t1: float) -> Iterator[tuple[Ints, Ints, F32]]:
    for start in range(0, len(model), _BLOCK):
        block = model[start : start + _BLOCK] @ model[start:].T
        i, j = np.nonzero(np.triu(block > t1, 1))
        yield i + start, j + start, block[i, j]


def _near_pairs(model: F32, t1: float) -> Iterator[tuple[Ints, Ints, F32]]:
    """By faiss: a pair is met where one of its images is among the other's nearest neighbours."""
    import faiss

    index = faiss.IndexHNSWFlat(model.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 2 * NEIGHBOURS
    rows = np.ascontiguousarray(model, np.float32)
    index.add(rows)
    similar, neighbour = index.search(rows, min(NEIGHBOURS + 1, len(rows)))
    own = np.broadcast_to(np.arange(len(rows))[:, None], neighbour.shape)
    kept = (similar > t1) & (neighbour >= 0) & (neighbour != own)
    i, j = np.minimum(own, neighbour)[kept], np.maximum(own, neighbour)[kept]
    _, first = np.unique(i * len(rows) + j, return_index=True)
    yield i[first].astype(np.int64), j[first].astype(np.int64), similar[kept][first]
