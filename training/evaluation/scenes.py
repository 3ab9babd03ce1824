"""`remoteclip eval zeroshot` and `retrieval`: whole images against sentences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firmware_cfg.errors import RemoteclipError
from training.evaluation.classification import Classified
from training.evaluation.intervals import bootstrap, bootstrap_mean, bootstrap_ratio
from training.evaluation.labelled import dataset_name, read_labelled
from training.evaluation.protocols import DEFAULT_PROTOCOL, class_embeddings, prompt_protocol
from training.readers import captions

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

Interval = tuple[float, float]
RECALL_AT = (1, 5, 10)
_CURVE = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class ZeroShotReport:
    """Zero-shot classification under one prompt protocol."""

    dataset: str
    split: str
    protocol: str
    found: Classified

    @property
    def n(self) -> int:
        """Number of images."""
        return self.found.n

    @property
    def classes(self) -> int:
        """Number of classes to choose from."""
        return len(self.found.names)

    @property
    def top1(self) -> float:
        """Share of images whose class was found."""
        return self.found.top1

    @property
    def top1_low(self) -> float:
        """Lower end of its 95% interval."""
        return self.found.interval[0]

    @property
    def top1_high(self) -> float:
        """Upper end of its 95% interval."""
        return self.found.interval[1]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        head = {"dataset": self.dataset, "split": self.split, "protocol": self.protocol}
        return {**head, **self.found.as_json()}

    def plot(self, path: Path) -> None:
        """Draw the confusion matrix. Raises UsageError, MissingExtra."""
        from training.evaluation.plots import confusion_figure, save_figure

        title = f"{self.dataset}: zero-shot, prompts {self.protocol}, top-1 {self.top1:.1%} of {self.n}"
        save_figure(confusion_figure(self.found.confusion, self.found.names, title), path)


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """Caption retrieval over n images and their texts.

    recalls: i2t_r1 ... t2i_r10, fractions, and mean_recall their mean; intervals: 95%, of each and of
    "mean_recall", images resampled with their texts while all stay in the gallery; curve: k -> recall at k
    from image to text and back.
    """

    dataset: str
    split: str
    n: int
    texts: int
    mean_recall: float
    recalls: dict[str, float]
    intervals: dict[str, Interval]
    curve: dict[int, tuple[float, float]]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        head = {"dataset": self.dataset, "split": self.split, "n": self.n, "texts": self.texts}
        ends = {
            f"{name}_{end}": interval[i]
            for name, interval in self.intervals.items()
            for i, end in enumerate(("low", "high"))
        }
        return {**head, "mean_recall": self.mean_recall, **self.recalls, **ends}

    def plot(self, path: Path) -> None:
        """Draw recall against the number of answers, both ways. Raises UsageError, MissingExtra."""
        from training.evaluation.plots import Curve, curves_figure, save_figure

        at = sorted(self.curve)
        ways = ("image to text", "text to image")
        curves = [Curve(way, at, [self.curve[k][i] for k in at]) for i, way in enumerate(ways)]
        title = f"{self.dataset}: retrieval over {self.n} images, mean recall {self.mean_recall:.1%}"
        save_figure(curves_figure(curves, title, ("answers looked at", "recall")), path)


def evaluate_zeroshot(
    subject: Subject, folder: Path, split: str = "all", protocol: str = DEFAULT_PROTOCOL
) -> ZeroShotReport:
    """Give every image the class whose sentences it is most similar to.

    Args:
        subject: the model.
        folder: class folders, or a caption set (see read_labelled).
        split: train, val, test or all.
        protocol: name of the prompt protocol.

    Raises UsageError for an unknown protocol, RemoteclipError or DataError where the set does not suit.
    """
    prompts = prompt_protocol(protocol)
    samples = read_labelled(folder, split)
    names = tuple(sorted({sample.label for sample in samples}))
    dataset = dataset_name(folder)
    classes = class_embeddings(subject, prompts, dataset, names)
    images = subject.image_embeddings([sample.path for sample in samples], f"{dataset}: zero-shot")
    number = {name: i for i, name in enumerate(names)}
    truth = np.array([number[sample.label] for sample in samples], np.int64)
    predicted = (images @ classes.T).argmax(axis=1)
    return ZeroShotReport(dataset, split, protocol, Classified(names, truth, predicted))


def evaluate_retrieval(subject: Subject, folder: Path, split: str = "test") -> RetrievalReport:
    """Recall of captions by images and of images by captions: a hit if any positive is among the best k.

    Raises RemoteclipError where the split has no images, DataError where the set is no caption set.
    """
    samples = captions.read_karpathy(folder, split)
    if not samples:
        raise RemoteclipError(f"{folder}: no images in split {split}")
    dataset = dataset_name(folder)
    counts = np.array([len(sample.captions) for sample in samples])
    # Images share sentences: each is computed once, so that equal ones are equally similar to the last bit.
    texts, which = np.unique([text for sample in samples for text in sample.captions], return_inverse=True)
    text = subject.text_embeddings(texts.tolist(), f"{dataset}: sentences")
    image = subject.image_embeddings([sample.path for sample in samples], f"{dataset}: images")
    similarity = (image @ text.T)[:, which]
    of_image, of_text = best_ranks(similarity, np.repeat(np.arange(len(samples)), counts))
    return _report(dataset, split, counts, of_image, of_text)


def best_ranks(
    similarity: NDArray[np.floating], owner: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the answers lie, 0 for the best place.

    Args:
        similarity: (I, T) of every image to every text.
        owner: (T,) each text's image; every image has a text.

    Returns:
        (I,) rank of each image's best text among all texts, (T,) rank of each text's image among all images.
        What is equally similar ranks in the order of the set.
    """
    image_rank = np.empty(len(similarity), np.int64)
    for image, row in enumerate(similarity):
        own = np.flatnonzero(owner == image)
        best = own[row[own].argmax()]
        image_rank[image] = (row > row[best]).sum() + (row[:best] == row[best]).sum()
    own_similarity = similarity[owner, np.arange(len(owner))]
    earlier = np.arange(len(similarity))[:, None] < owner
    before = (similarity > own_similarity) | ((similarity == own_similarity) & earlier)
    return image_rank, before.sum(axis=0).astype(np.int64)


def _report(
    dataset: str,
    split: str,
    counts: NDArray[np.int64],
    of_image: NDArray[np.int64],
    of_text: NDArray[np.int64],
) -> RetrievalReport:
    starts = np.cumsum(counts) - counts
    image_hits = {k: (of_image < k).astype(np.float64) for k in RECALL_AT}
    text_hits = {k: np.add.reduceat((of_text < k).astype(np.float64), starts) for k in RECALL_AT}
    recalls = {f"i2t_r{k}": float(hits.mean()) for k, hits in image_hits.items()}
    recalls |= {f"t2i_r{k}": float(hits.sum() / counts.sum()) for k, hits in text_hits.items()}
    intervals = {f"i2t_r{k}": bootstrap_mean(hits) for k, hits in image_hits.items()}
    intervals |= {f"t2i_r{k}": bootstrap_ratio(hits, counts) for k, hits in text_hits.items()}
    by_image = np.sum(list(image_hits.values()), axis=0)
    by_text = np.sum(list(text_hits.values()), axis=0)

    def mean_recall(index: NDArray[np.intp]) -> NDArray[np.float64]:
        back = by_text[index].sum(axis=1) / counts[index].sum(axis=1)
        return np.asarray((by_image[index].mean(axis=1) + back) / (2 * len(RECALL_AT)), np.float64)

    intervals["mean_recall"] = bootstrap(len(counts), mean_recall)
    curve = {
        k: (float((of_image < k).mean()), float((of_text < k).mean())) for k in _CURVE if k <= len(counts)
    }
    mean = float(np.mean(list(recalls.values())))
    return RetrievalReport(dataset, split, len(counts), len(of_text), mean, recalls, intervals, curve)
