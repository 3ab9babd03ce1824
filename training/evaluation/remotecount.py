"""`remoteclip eval remotecount`: which number does the whole image's embedding agree with best?

RemoteCount (RemoteCLIP, arXiv 2306.11029, section IV-E) pairs an image with a caption that says how many of a
thing it shows, puts each number from one to ten in place of the true one, and asks which caption is most
similar to the image. Its 947 pairs were never released; here any set with boxes makes pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firmware_cfg.errors import RemoteclipError, UsageError
from training.captioning.words import amount
from training.evaluation.intervals import bootstrap_ratio
from training.evaluation.objects import object_task
from training.evaluation.vocabulary import words

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

TEMPLATE = "an aerial image of {}"
"""One of Box-to-Caption's wordings; it has no verb that would have to agree with the number."""
NUMBERS = 10


@dataclass(frozen=True, slots=True)
class RemoteCountReport:
    """RemoteCount over n pairs of an image and a class of which it shows 1 to 10 things.

    top: share of pairs whose true number is among the k best, k = 1..10; top1_low, top1_high: 95% interval of
    the first over images; majority: what always answering the commonest number would give; mae: mean
    absolute error of the best number; classes: pairs and top-1 by class; confusion: (10, 10) pairs by true
    number (row) and best number (column).
    """

    dataset: str
    split: str
    n: int
    images: int
    numbers: str
    template: str
    top: tuple[float, ...]
    top1_low: float
    top1_high: float
    majority: float
    mae: float
    classes: dict[str, dict[str, float]]
    confusion: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last; rows of `confusion_rows` sum to 1, None without pairs."""
        document = asdict(self)
        del document["top"]
        tops = {f"top{k}": share for k, share in enumerate(self.top, start=1)}
        rows = [row if total else None for row, total in zip(*self._rows(), strict=True)]
        return {**document, **tops, "confusion_rows": rows}

    def plot(self, path: Path) -> None:
        """Draw the row-normalised confusion matrix. Raises UsageError, MissingExtra."""
        from training.evaluation.plots import confusion_figure, save_figure

        labels = [str(number) for number in range(1, NUMBERS + 1)]
        title = f"RemoteCount, {self.dataset} {self.split}, n = {self.n}: top-1 {self.top[0]:.1%}"
        save_figure(confusion_figure(np.array(self.confusion), labels, title), path)

    def _rows(self) -> tuple[list[list[float]], list[int]]:
        counts = np.array(self.confusion)
        totals = counts.sum(axis=1)
        return (counts / np.maximum(totals, 1)[:, None]).tolist(), totals.tolist()


def evaluate_remotecount(
    subject: Subject,
    folder: Path,
    split: str = "test",
    *,
    form: str | None = None,
    classes: Sequence[str] = (),
    numbers: str = "words",
    template: str = TEMPLATE,
) -> RemoteCountReport:
    """Make a pair of every image and class with 1 to 10 things, and let the model choose the number.

    Args:
        subject: the model.
        folder, split, form, classes: see `object_task`.
        numbers: how captions write the number, "words" or "digits".
        template: caption with {} once, where number and things go ("three ships"). The noun follows the
            number, so that its plural does not tell the answer.

    Raises:
        UsageError: an unknown kind of numbers, an unfit template or class.
        RemoteclipError: the split shows nothing 1 to 10 times.
    """
    if numbers not in ("words", "digits"):
        raise UsageError(f"numbers are written as words or digits, not {numbers}")
    if template.count("{}") != 1 or template.count("{") + template.count("}") != 2:
        raise UsageError(f"template {template!r} must hold {{}} once and no other braces")
    task = object_task(folder, split, form, classes)
    truth = task.truth(task.samples)
    image, label = np.nonzero((truth >= 1) & (truth <= NUMBERS))
    if not len(image):
        raise RemoteclipError(f"{folder}: no image of split {split} shows 1 to {NUMBERS} things of a class")
    asked, text_row = np.unique(label, return_inverse=True)
    shown, image_row = np.unique(image, return_inverse=True)
    texts = [
        template.format(amount(number, words(task.dataset, task.names[index]), digits=numbers == "digits"))
        for index in asked
        for number in range(1, NUMBERS + 1)
    ]
    text = subject.text_embeddings(texts, f"{task.dataset}: captions").reshape(len(asked), NUMBERS, -1)
    images = subject.image_embeddings([task.samples[i].path for i in shown], f"{task.dataset}: images")
    similarity = np.einsum("kd,knd->kn", images[image_row], text[text_row])
    rank, best = ranked(similarity, truth[image, label])
    hits = np.bincount(image_row, rank == 0)
    low, high = bootstrap_ratio(hits, np.bincount(image_row))
    true = truth[image, label]
    confusion = np.zeros((NUMBERS, NUMBERS), np.int64)
    np.add.at(confusion, (true - 1, best - 1), 1)
    by_class = {
        task.names[index]: {
            "n": int((label == index).sum()),
            "top1": float((rank == 0)[label == index].mean()),
        }
        for index in asked
    }
    return RemoteCountReport(
        dataset=task.dataset,
        split=task.split,
        n=len(true),
        images=len(shown),
        numbers=numbers,
        template=template,
        top=tuple(float((rank < k).mean()) for k in range(1, NUMBERS + 1)),
        top1_low=low,
        top1_high=high,
        majority=float(np.bincount(true).max() / len(true)),
        mae=float(np.abs(best - true).mean()),
        classes=by_class,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def ranked(
    similarity: NDArray[np.floating], true: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank of the true number (0 = best) and the best number of every pair, each (K,).

    similarity: (K, 10), column j belongs to number j + 1; true: (K,) numbers 1..10. Of equal similarities the
    true number's counts as the worst, so that a model that cannot tell gains nothing.
    """
    own = np.take_along_axis(similarity, true[:, None] - 1, axis=1)
    rank = (similarity >= own).sum(axis=1) - 1
    # The best number must be another one where the true one only ties with it.
    others = similarity.copy()
    np.put_along_axis(others, true[:, None] - 1, -np.inf, axis=1)
    best = np.where(rank == 0, true, others.argmax(axis=1) + 1)
    return rank.astype(np.int64), best.astype(np.int64)
