"""Pair accuracy on blind pairs of many annotated sets together, beside pairs that are not blind.

    python -m benchmarks.blindpairs ../shared/data/{vhr10,eurosat,resisc12} -o runs/blindpairs

Of each set three kinds of pairs are drawn, as many at most, and asked about alike: `blind` (as the command
finds them), `alike` (the model calls them the same, whatever the encoder says) and `any` (two images at
random). Were blind pairs nothing special, all three would score the same. `-o` keeps the embeddings.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.blindpairs.encoders import DEFAULT_ENCODER, Encoder, open_encoder
from training.blindpairs.images import CACHE, Embeddings, embed_images
from training.blindpairs.mine import Alike, alike, choose_thresholds, select
from training.blindpairs.mining import Asker, Search, answers, open_images
from training.blindpairs.questions import PATTERNS, Accuracy, Question, choices, pair_accuracy
from training.evaluation.subject import Subject, open_subject

KINDS = ("blind", "alike", "any")
_DRAWN = 20_000  # pairs of images at random, of which enough can be asked about
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Answers:
    """Questions about pairs of any number of sets, and the model's similarities (Q, 2, 2)."""

    questions: tuple[Question, ...]
    similarity: NDArray[np.float64]

    def of(self, pattern: str) -> Answers:
        """Those of one visual pattern."""
        rows = [k for k, question in enumerate(self.questions) if question.pattern == pattern]
        return Answers(tuple(self.questions[k] for k in rows), self.similarity[rows])

    @property
    def both(self) -> NDArray[np.float64]:
        """(pairs, 2): questions answered right, and asked, of each pair."""
        pair = np.unique([question.pair for question in self.questions], return_inverse=True)[1]
        right = choices(self.similarity).all(axis=1)
        return np.stack([np.bincount(pair, right), np.bincount(pair)], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--quantile", type=float, default=Search().quantile)
    parser.add_argument("--pairs", type=int, default=10_000, help="of each kind and set, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    subject, encoder = open_subject(options.model), open_encoder(options.encoder)
    search = Search(quantile=options.quantile, most=options.pairs, seed=options.seed)
    found: dict[str, dict[str, Answers]] = {}
    sizes = {}
    for folder in options.folders:
        cache = None if options.output is None else options.output / folder.name / CACHE
        sizes[folder.name], found[folder.name] = examine(subject, encoder, folder, search, cache)
    _print(found, sizes, options.seed)


def examine(
    subject: Subject, encoder: Encoder, folder: Path, search: Search, cache: Path | None
) -> tuple[int, dict[str, Answers]]:
    """How many images a set has, and the answers about its pairs of every kind that has any."""
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
    annotated, paths, _ = open_images(folder, search)
    seen = embed_images(subject, encoder, paths, folder, cache)
    asker = Asker(annotated, np.array(seen.kept))
    names = [paths[k].relative_to(folder).as_posix() for k in seen.kept]
    rows = dict(zip(names, seen.model, strict=True))
    given = {}
    for kind, pairs in zip(KINDS, _pairs(seen, search), strict=True):
        chosen = select(
            pairs, seen.model, seen.encoder, search.most, usable=lambda i, j: bool(asker.ask(i, j))
        )
        asked, questions = asker.about(chosen, names)
        if questions:
            given[kind] = Answers(questions, answers(subject, asked, questions, rows))
    return len(names), given


def _pairs(seen: Embeddings, search: Search) -> Iterator[Alike]:
    """Of each kind, in the order in which they are taken: the latter two at random."""
    limits = choose_thresholds(seen.model, seen.encoder, None, None, search.quantile, search.seed)
    same = alike(seen.model, seen.encoder, limits.t1)
    yield same.blind(limits.t2)
    rng = np.random.default_rng(search.seed)
    yield same.take(rng.permutation(len(same)))
    i, j = np.sort(rng.integers(0, len(seen.model), (2, _DRAWN)), axis=0)
    apart = np.flatnonzero(i < j)
    i, j = i[apart].astype(np.int64), j[apart].astype(np.int64)
    cosines = (np.einsum("kd,kd->k", rows[i], rows[j]) for rows in (seen.model, seen.encoder))
    yield Alike(i, j, *cosines)


def pooled(parts: Sequence[Answers]) -> Answers:
    """One set of several; no pair of one is a pair of another."""
    questions: list[Question] = []
    for part in parts:
        first = 1 + max((question.pair for question in questions), default=-1)
        questions += [replace(question, pair=first + question.pair) for question in part.questions]
    return Answers(tuple(questions), np.concatenate([np.zeros((0, 2, 2)), *(p.similarity for p in parts)]))


def difference(blind: Answers, other: Answers, seed: int) -> tuple[float, float, float]:
    """Pair accuracy of `blind` less that of `other`, and its 95% interval, pairs resampled in both."""
    rng = np.random.default_rng(seed)
    drawn = []
    for part in (blind, other):
        both = part.both
        sums = both[rng.integers(0, len(both), (_RESAMPLES, len(both)))].sum(axis=1)
        drawn.append(sums[:, 0] / sums[:, 1])
    low, high = np.quantile(drawn[0] - drawn[1], (0.025, 0.975))
    means = [part.both.sum(axis=0) for part in (blind, other)]
    return float(means[0][0] / means[0][1] - means[1][0] / means[1][1]), float(low), float(high)


def _print(found: dict[str, dict[str, Answers]], sizes: dict[str, int], seed: int) -> None:
    head = " | ".join(f"{kind}: pairs, questions | pair accuracy (95%) | both wrong" for kind in KINDS)
    print(f"\n| | images | {head} |\n|{'---|' * (2 + 3 * len(KINDS))}")
    document: dict[str, Any] = {}
    for name, kinds in found.items():
        document[name] = _row(name, str(sizes[name]), [kinds.get(kind) for kind in KINDS], seed)
    every = [pooled([kinds[kind] for kinds in found.values() if kind in kinds]) for kind in KINDS]
    rows = {pattern: [part.of(pattern) for part in every] for pattern in PATTERNS}
    for name, parts in {**rows, "all": every}.items():
        if any(part.questions for part in parts):
            document[name] = _row(name, "", [part if part.questions else None for part in parts], seed)
    print()
    for name, parts in {**rows, "all": every}.items():
        for kind, part in zip(KINDS[1:], parts[1:], strict=True):
            if parts[0].questions and part.questions:
                value, low, high = difference(parts[0], part, seed)
                document[name][f"blind less {kind}"] = [value, low, high]
                span = f"({100 * low:+.1f} to {100 * high:+.1f})"
                print(f"{name}, blind less {kind}: {100 * value:+.1f} points {span}")
    print(json.dumps(document))


def _row(name: str, images: str, parts: Sequence[Answers | None], seed: int) -> dict[str, Any]:
    cells: list[str] = []
    document: dict[str, Any] = {}
    for kind, part in zip(KINDS, parts, strict=True):
        if part is None:
            cells += ["-", "-", "-"]
            continue
        a: Accuracy = pair_accuracy(part.questions, part.similarity, seed).overall
        cells += [
            f"{a.pairs}, {a.n}",
            f"{a.accuracy:.1%} ({100 * a.low:.0f}-{100 * a.high:.0f})",
            f"{a.crossed:.1%}",
        ]
        document[kind] = {"n": a.n, "pair_accuracy": a.accuracy, "low": a.low, "high": a.high}
    print(f"| {name} | {images} | {' | '.join(cells)} |", flush=True)
    return document


if __name__ == "__main__":
    main()
