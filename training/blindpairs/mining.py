"""`remoteclip eval blindpairs MODEL DATA`: mine pairs, ask what annotations know of them, and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from firmware_cfg.errors import RemoteclipError, UsageError
from training.blindpairs.asking import Annotated, read_annotated
from training.blindpairs.encoders import Encoder
from training.blindpairs.images import CACHE, Embeddings, embed_images, find_images
from training.blindpairs.mine import Alike, Thresholds, alike, choose_thresholds, other_thresholds, select
from training.blindpairs.questions import Pair, Question, pair_accuracy, similarities
from training.blindpairs.report import BlindPairReport, Mined
from training.blindpairs.set_file import BlindPairSet, read_set
from training.errors import DataError
from training.evaluation.labelled import dataset_name
from training.readers import detect_format

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

PLAIN = "folder"
"""Format of images without annotations; `--format folder` has them ignored."""
_SHARED = 2000  # pairs that the share which annotations tell apart is read from


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for.

    t1, t2: thresholds, None for those of `quantile` (see choose_thresholds); most: pairs to keep; per_image:
    pairs that an image may be in; split, form, classes: of an annotated set.
    """

    t1: float | None = None
    t2: float | None = None
    quantile: float = 0.98
    most: int = 150
    per_image: int = 1
    split: str | None = None
    form: str | None = None
    classes: Sequence[str] = ()
    seed: int = 0


def mine_pairs(
    subject: Subject, data: Path, encoder: Encoder, search: Search, out: Path | None = None
) -> BlindPairReport:
    """Mine the blind pairs of a model in a folder of images, and score it where the folder is annotated.

    Args:
        subject: the model.
        data: any folder of images, or an annotated set or annotation file.
        encoder: what tells the images apart.
        out: run folder; keeps the embeddings, for another run with other thresholds.

    Raises:
        UsageError: thresholds or quantile out of range.
        DataError, RemoteclipError: no such folder or split, fewer than two images of use, no such pairs.
    """
    _check(search)
    annotated, paths, split = open_images(data, search)
    folder = data.parent if data.is_file() else data
    cache = out / CACHE if out is not None else None
    seen = embed_images(subject, encoder, paths, folder, cache)
    limits = choose_thresholds(seen.model, seen.encoder, search.t1, search.t2, search.quantile, search.seed)
    same = alike(seen.model, seen.encoder, limits.t1)
    blind = same.blind(limits.t2)
    if not len(blind):
        raise RemoteclipError(f"{folder}: {_no_pairs(seen, limits, search.seed)}")
    kept = np.array(seen.kept)
    asker = Asker(annotated, kept)
    chosen = _select(blind, seen, asker, search)
    names = [paths[k].relative_to(folder).as_posix() for k in seen.kept]
    pairs, questions = asker.about(chosen, names)
    found = BlindPairSet(folder.resolve(), subject.name, encoder.name, limits.t1, limits.t2, pairs, questions)
    mined = Mined(
        images=len(names),
        skipped={str(path.relative_to(folder)): why for path, why in seen.skipped.items()},
        split=split,
        same=len(same),
        blind=len(blind),
        told_apart_same=asker.share(same, search.seed),
        told_apart_blind=asker.share(blind, search.seed),
    )
    rows = dict(zip(names, seen.model, strict=True))
    return _scored(subject, dataset_name(data), found, rows, mined, search.seed)


def score_set(subject: Subject, file: Path, folder: Path | None = None, seed: int = 0) -> BlindPairReport:
    """Ask a model the questions of a set, such as one that was made by hand on the review page.

    folder: where the set's images are now, if not where the file says. Raises DataError for a malformed set
    or an image that is not there, RemoteclipError where it has no questions.
    """
    found = read_set(file, folder)
    if not found.questions:
        raise RemoteclipError(f"{file}: no questions in it (write some on its review page and export it)")
    asked = {found.pairs[question.pair] for question in found.questions}
    names = sorted({name for pair in asked for name in (pair.first, pair.second)})
    for name in names:
        if not (found.folder / name).is_file():
            raise DataError(f"{found.folder / name}: no such image (say where they are with --images FOLDER)")
    rows = subject.image_embeddings([found.folder / name for name in names], "model")
    return _scored(subject, file.stem, found, dict(zip(names, rows, strict=True)), None, seed)


def _scored(
    subject: Subject,
    dataset: str,
    found: BlindPairSet,
    images: Mapping[str, F32],
    mined: Mined | None,
    seed: int,
) -> BlindPairReport:
    similarity = answers(subject, found.pairs, found.questions, images) if found.questions else None
    accuracy = None if similarity is None else pair_accuracy(found.questions, similarity, seed)
    return BlindPairReport(dataset, subject.name, subject.sha256, found, similarity, accuracy, mined)


def answers(
    subject: Subject, pairs: Sequence[Pair], questions: Sequence[Question], images: Mapping[str, F32]
) -> NDArray[np.float64]:
    """See `similarities`; the statements are read by the model."""
    texts = sorted({text for question in questions for text in (question.first, question.second)})
    rows = dict(zip(texts, subject.text_embeddings(texts), strict=True))
    return similarities(pairs, questions, images, rows)


class Asker:
    """Questions by row of the embeddings; none where the images have no annotations."""

    def __init__(self, annotated: Annotated | None, kept: NDArray[np.int64]) -> None:
        self._annotated = annotated
        self._kept = kept

    @property
    def knows(self) -> bool:
        return self._annotated is not None

    def ask(self, i: int, j: int) -> list[tuple[str, str, str]]:
        return [] if self._annotated is None else self._annotated.ask(int(self._kept[i]), int(self._kept[j]))

    def about(self, chosen: Alike, names: Sequence[str]) -> tuple[tuple[Pair, ...], tuple[Question, ...]]:
        """Pairs and everything that can be asked about them; names: of the rows."""
        pairs, questions = [], []
        for i, j, m, e in zip(chosen.i, chosen.j, chosen.model, chosen.encoder, strict=True):
            questions += [Question(len(pairs), *asked) for asked in self.ask(int(i), int(j))]
            pairs.append(Pair(names[i], names[j], float(m), float(e)))
        return tuple(pairs), tuple(questions)

    def share(self, pairs: Alike, seed: int) -> float | None:
        """Of the pairs, or of some drawn from them, the share on which there is something to ask."""
        if self._annotated is None or not len(pairs):
            return None
        drawn = np.arange(len(pairs))
        if len(drawn) > _SHARED:
            drawn = np.random.default_rng(seed).choice(drawn, _SHARED, replace=False)
        asked = [bool(self.ask(int(pairs.i[k]), int(pairs.j[k]))) for k in drawn]
        return float(np.mean(asked))


def _select(blind: Alike, seen: Embeddings, asker: Asker, search: Search) -> Alike:
    """Pairs that can be asked about come first: a set is for asking; the others fill it up."""
    chosen = select(
        blind,
        seen.model,
        seen.encoder,
        search.most,
        per_image=search.per_image,
        usable=(lambda i, j: bool(asker.ask(i, j))) if asker.knows else None,
    )
    if len(chosen) or not asker.knows:
        return chosen
    # Nothing to ask: the pairs are worth a look all the same.
    return select(blind, seen.model, seen.encoder, search.most, per_image=search.per_image)


def open_images(data: Path, search: Search) -> tuple[Annotated | None, Sequence[Path], str]:
    """Annotations if there are any, the images, and the split that they are of."""
    form = search.form
    if form is None:
        try:
            form = detect_format(data)
        except DataError:
            if not data.is_dir():
                raise
            form = PLAIN
    if form == PLAIN:
        return None, find_images(data), "all"
    split = search.split or ("all" if form == "class_folders" else "test")
    annotated = read_annotated(data, form, split, search.classes)
    return annotated, annotated.paths, split


def _check(search: Search) -> None:
    for name, value in (("--t1", search.t1), ("--t2", search.t2)):
        if value is not None and not -1 <= value <= 1:
            raise UsageError(f"{name} {value:g}: a cosine lies between -1 and 1")
    if not 0 < search.quantile < 1:
        raise UsageError(f"--quantile {search.quantile:g}: a share of all pairs, between 0 and 1")


def _no_pairs(seen: Embeddings, limits: Thresholds, seed: int) -> str:
    told = f"no pair with model above {limits.t1:.3f} and encoder below {limits.t2:.3f}"
    other = other_thresholds(seen.model, seen.encoder, limits, seed)
    if other is None:
        return f"{told} (all its images look the same to both)"
    mends = [
        f"{option} {value:.2f}"
        for option, value in (("--t1", other.t1), ("--t2", other.t2))
        if value == value
    ]
    return f"{told} ({' or '.join(mends)} would give some)"
