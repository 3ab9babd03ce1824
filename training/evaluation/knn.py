"""`remoteclip eval knn`: whether an image's nearest neighbours are of its class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from training.evaluation.classification import Classified
from training.evaluation.labelled import divide, embed

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

NEIGHBOURS, TEMPERATURE = 20, 0.07  # RemoteCLIP, arXiv 2306.11029
SEARCHED = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class KnnReport:
    """k-NN on the test images, by the k asked for and by the one that validation chose.

    found, chosen: what each k gave on test; validation: top-1 there by k.
    """

    dataset: str
    n_train: int
    n_val: int
    temperature: float
    k: int
    chosen_k: int
    validation: dict[int, float]
    found: Classified
    chosen: Classified

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        low, high = self.chosen.interval
        best = {"k": self.chosen_k, "top1": self.chosen.top1, "top1_low": low, "top1_high": high}
        return {
            "dataset": self.dataset,
            **self.found.as_json(),
            "k": self.k,
            "temperature": self.temperature,
            "n_train": self.n_train,
            "n_val": self.n_val,
            "validation_by_k": {str(k): top1 for k, top1 in self.validation.items()},
            "chosen_on_validation": best,
        }

    def plot(self, path: Path) -> None:
        """Draw validation's top-1 by k, and what test gave. Raises UsageError, MissingExtra."""
        from training.evaluation.plots import Curve, curves_figure, save_figure

        at = sorted(self.validation)
        curve = Curve(f"validation, n = {self.n_val}", at, [self.validation[k] for k in at])
        marks = {f"test, k = {self.k}, n = {self.found.n}": self.found.top1}
        title = f"{self.dataset}: k-NN, T = {self.temperature:g}, {self.n_train} neighbours to choose from"
        save_figure(curves_figure([curve], title, ("k", "top-1"), marks), path)


def evaluate_knn(
    subject: Subject, folder: Path, *, k: int = NEIGHBOURS, temperature: float = TEMPERATURE
) -> KnnReport:
    """Classify test images by their nearest training images.

    Args:
        subject: the model; only its image embeddings are used.
        folder: class folders, or a caption set with labels (see divide).
        k: neighbours that vote, at least 1; there may be fewer training images.
        temperature: of the votes, above 0.

    Raises RemoteclipError or DataError where the set does not suit.
    """
    division = divide(folder)
    images = embed(subject, division)
    gallery = (images.train, images.train_labels, len(division.names))
    searched = sorted({k, *SEARCHED})
    on_val = vote(images.val, *gallery, searched, temperature)
    validation = {k: float((found == images.val_labels).mean()) for k, found in on_val.items()}
    chosen_k = max(searched, key=lambda k: (validation[k], -k))
    on_test = vote(images.test, *gallery, [k, chosen_k], temperature)
    found, chosen = (Classified(division.names, images.test_labels, on_test[by]) for by in (k, chosen_k))
    return KnnReport(
        division.dataset,
        len(images.train),
        len(images.val),
        temperature,
        k,
        chosen_k,
        validation,
        found,
        chosen,
    )


def vote(
    queries: F32,
    gallery: F32,
    labels: NDArray[np.int64],
    classes: int,
    neighbours: list[int],
    temperature: float,
) -> dict[int, NDArray[np.int64]]:
    """Classes of the queries (Q, D) by weighted votes of their k nearest in the gallery (N, D), for every k.

    A neighbour's vote weighs exp(cosine / temperature). labels: (N,) of the gallery. Returns k -> (Q,).
    """
    most = min(max(neighbours), len(gallery))
    found: dict[int, list[int]] = {k: [] for k in neighbours}
    for query in queries:
        cosine = gallery @ query
        near = np.argsort(-cosine, kind="stable")[:most]
        # Less the largest, which changes no comparison and never overflows.
        weight = np.exp((cosine[near].astype(np.float64) - float(cosine[near[0]])) / temperature)
        for k in neighbours:
            found[k].append(int(np.bincount(labels[near[:k]], weight[:k], classes).argmax()))
    return {k: np.array(classes_found, np.int64) for k, classes_found in found.items()}
