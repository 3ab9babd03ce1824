"""Blind pairs, the questions about them, and how these are scored.

A blind pair is two images whose embeddings the model cannot tell apart while a label-free encoder can. A
question makes one statement that is true of the first image only and one that is true of the second only;
for each statement the model chooses between the two images, and the question is answered right if both
choices are (MMVP-VLM, arXiv 2401.06209 section 3; RSMMVP, arXiv 2503.15816).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import bootstrap_ratio

PATTERNS = ("class", "presence", "count", "quantity", "position", "relation", "distance")
"""What sets made from annotations ask about; sets made by hand may name other visual patterns."""
CHANCE = 0.25
"""Pair accuracy of two choices by independent coins."""
_TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images: file names below the set's folder, with `/`, and how similar they are.

    model: cosine of the embeddings of the model that the pair was mined for, -1..1; encoder: cosine of the
    label-free encoder's.
    """

    first: str
    second: str
    model: float
    encoder: float


@dataclass(frozen=True, slots=True)
class Question:
    """Two statements about a pair, each true of its own image and not of the other.

    pair: index into the set's pairs; pattern: what the images differ in, such as "count".
    """

    pair: int
    pattern: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Pair accuracy over n questions about `pairs` pairs.

    accuracy: share of questions whose two choices are both right; low, high: its 95% interval, pairs
    resampled with all their questions; crossed: share whose two choices are both wrong.
    """

    n: int
    pairs: int
    accuracy: float
    low: float
    high: float
    crossed: float


@dataclass(frozen=True, slots=True)
class PairAccuracy:
    """Pair accuracy over all questions of a set, and over those of each visual pattern, in order of name."""

    overall: Accuracy
    patterns: Mapping[str, Accuracy]

    def as_json(self) -> dict[str, Any]:
        """`pair_accuracy` with its interval, what guessing gives, and the same by pattern."""
        return {**_as_json(self.overall), "patterns": {k: _as_json(v) for k, v in self.patterns.items()}}


def similarities(
    pairs: Sequence[Pair],
    questions: Sequence[Question],
    images: Mapping[str, NDArray[np.floating]],
    statements: Mapping[str, NDArray[np.floating]],
) -> NDArray[np.float64]:
    """Cosine of every question's statements (axis 1) to its images (axis 2), (Q, 2, 2).

    Args:
        pairs, questions: a set's.
        images: unit embedding (D,) by file name as pairs have it.
        statements: unit embedding (D,) of each question's statements, as the model reads them.
    """
    found = np.empty((len(questions), 2, 2), np.float64)
    for row, question in zip(found, questions, strict=True):
        pair = pairs[question.pair]
        texts = np.stack([statements[question.first], statements[question.second]])
        row[:] = texts @ np.stack([images[pair.first], images[pair.second]]).T
    return found


def choices(similarity: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether each statement finds its own image, (Q, 2), from `similarities` (Q, 2, 2).

    Of two images that are equally similar none is chosen: a model that cannot tell gains nothing.
    """
    first = similarity[:, 0, 0] > similarity[:, 0, 1]
    second = similarity[:, 1, 1] > similarity[:, 1, 0]
    return np.stack([first, second], axis=1)


def pair_accuracy(
    questions: Sequence[Question], similarity: NDArray[np.floating], seed: int = 0
) -> PairAccuracy:
    """Score a set.

    Args:
        questions: at least one.
        similarity: of each, see `similarities`.
        seed: of the interval's resamples.
    """
    right = choices(similarity)
    patterns = np.array([question.pattern for question in questions])
    pair = np.array([question.pair for question in questions], np.int64)
    by_pattern = {
        str(name): _accuracy(right[patterns == name], pair[patterns == name], seed)
        for name in np.unique(patterns)
    }
    return PairAccuracy(_accuracy(right, pair, seed), by_pattern)


def _accuracy(right: NDArray[np.bool_], pair: NDArray[np.int64], seed: int) -> Accuracy:
    both = right.all(axis=1)
    which = np.unique(pair, return_inverse=True)[1]
    asked = np.bincount(which)
    low, high = bootstrap_ratio(np.bincount(which, both), asked, seed)
    # Resamples of nothing but hits, or misses, are all the same: take the binomial's exact end instead.
    unseen = 1 - _TAIL ** (1 / len(asked))
    if not both.any():
        high = unseen
    if both.all():
        low = 1 - unseen
    wrong = float((~right).all(axis=1).mean())
    return Accuracy(len(both), len(asked), float(both.mean()), low, high, wrong)


def _as_json(accuracy: Accuracy) -> dict[str, Any]:
    values = asdict(accuracy)
    head = {"n": values.pop("n"), "pairs": values.pop("pairs")}
    named = {"accuracy": "pair_accuracy", "low": "pair_accuracy_low", "high": "pair_accuracy_high"}
    return {
        **head,
        **{named.get(name, name): value for name, value in values.items()},
        "chance": CHANCE,
    }
