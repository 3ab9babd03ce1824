"""`remoteclip eval count`: how many of each class the drone would report, against the truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.tiling import Tiles
from training.evaluation.intervals import bootstrap_mean, bootstrap_ratio
from training.evaluation.objects import ObjectTask, object_task
from training.evaluation.operating import Asked, OperatingPoint, Origin, Size, choose, counted
from training.evaluation.sightings import Observer
from training.evaluation.vocabulary import prompt_id

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

Counts = NDArray[np.int64]

BUCKETS = ((0, 0), (1, 2), (3, 5), (6, 10), (11, 30), (31, None))
"""True numbers of things that are reported apart, ends included: a count of 0 is easy, one of 40 is not."""


@dataclass(frozen=True, slots=True)
class BucketCount:
    """Counting where the true number lies in a range, such as "3-5": over n pairs of image and class."""

    n: int
    mae: float
    exact: float
    within_one: float


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Counting of one class.

    threshold and where it comes from; mae with its 95% interval; exact, within_one: share of images counted
    exactly, or wrong by one at most; exact_1_10: share counted exactly of the n_1_10 images that truly hold
    1 to 10 (None where there are none); total, truth: sums over images; total_error: their difference as a
    share of the truth (None where that is 0); buckets by true number.
    """

    threshold: float
    threshold_from: Origin
    mae: float
    mae_low: float
    mae_high: float
    exact: float
    within_one: float
    exact_1_10: float | None
    n_1_10: int
    total: int
    truth: int
    total_error: float | None
    buckets: dict[str, BucketCount]


@dataclass(frozen=True, slots=True)
class CountReport:
    """Counting on one split: n images, every class by its name, and all pairs of image and class together.

    image_size: model input (width, height), or None where every frame had the one that suits it; tried: mean
    absolute error on validation, summed over classes, of every input tried. exact_1_10 pools the n_1_10 pairs
    whose true number is 1 to 10, with its 95% interval over images; exact_1_10_by_class is the mean of the
    classes' own. limited: images in which the graph's every place counted, so that more things may be there.
    counted, true: (n, classes) numbers of every image.
    """

    dataset: str
    split: str
    n: int
    image_size: Size | None
    tried: dict[str, float]
    mae: float
    exact: float
    within_one: float
    exact_1_10: float | None
    exact_1_10_low: float | None
    exact_1_10_high: float | None
    exact_1_10_by_class: float | None
    n_1_10: int
    limited: int
    buckets: dict[str, BucketCount]
    classes: dict[str, ClassCount]
    counted: Counts
    true: Counts

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last: everything but the single images' numbers."""
        document = asdict(self)
        del document["counted"], document["true"]
        return document

    def plot(self, path: Path) -> None:
        """Draw counted against true numbers, and the error by true number, into a PNG file."""
        from training.evaluation.count_plot import draw

        draw(self, path)


def evaluate_count(
    subject: Subject,
    folder: Path,
    split: str = "test",
    *,
    form: str | None = None,
    classes: Sequence[str] = (),
    by_name: Collection[str] = (),
    thresholds: str = "validation",
    image_size: Asked = None,
    tiles: Tiles = "none",
) -> CountReport:
    """Choose thresholds and model input on the set's validation images, then count on the split once.

    Args:
        subject: the model.
        folder, split, form, classes: see `object_task`. Every class is asked for, whether or not a split
            shows it: a thing that is not there and is counted is an error too.
        by_name, thresholds, image_size, tiles: see `choose`.

    Raises:
        RemoteclipError: the set has nothing to count, no images in the split, or none for validation.
        UsageError: an unknown class or word, or a checkpoint is asked for default thresholds.
    """
    task = object_task(folder, split, form, classes)
    point = choose(
        subject, task, folder, by_name=by_name, thresholds=thresholds, image_size=image_size, tiles=tiles
    )
    return count_at(subject, task, point)


def count_at(subject: Subject, task: ObjectTask, point: OperatingPoint) -> CountReport:
    """Count on the task's images as the drone would with these thresholds and this model input."""
    with Observer(subject, point.prompts(task.dataset), point.image_size, point.tiles) as observer:
        seen = observer.observe(task.samples, f"{task.dataset}: counting")
        limited = sum(observer.exhausted(sighting) for sighting in seen)
        used = observer.thresholds
    rows = [
        counted(sample, sighting, task.names) for sample, sighting in zip(task.samples, seen, strict=True)
    ]
    numbers, truth = np.array(rows, np.int64), task.truth(task.samples)
    by_class = {
        name: _class_count(used[prompt_id(name)], point.origins[name], numbers[:, i], truth[:, i])
        for i, name in enumerate(task.names)
    }
    few = (truth >= 1) & (truth <= 10)
    hits = few & (numbers == truth)
    pooled = _share(numbers == truth, few)
    has = few.any(axis=1)
    low, high = bootstrap_ratio(hits[has].sum(1), few[has].sum(1)) if has.any() else (None, None)
    shares = [c.exact_1_10 for c in by_class.values() if c.exact_1_10 is not None]
    error = np.abs(numbers - truth)
    return CountReport(
        dataset=task.dataset,
        split=task.split,
        n=len(task.samples),
        image_size=point.image_size,
        tried=point.tried,
        mae=float(error.mean()),
        exact=float((error == 0).mean()),
        within_one=float((error <= 1).mean()),
        exact_1_10=pooled,
        exact_1_10_low=low,
        exact_1_10_high=high,
        exact_1_10_by_class=float(np.mean(shares)) if shares else None,
        n_1_10=int(few.sum()),
        limited=limited,
        buckets=by_bucket(numbers, truth),
        classes=by_class,
        counted=numbers,
        true=truth,
    )


def by_bucket(numbers: Counts, truth: Counts) -> dict[str, BucketCount]:
    """Counting by the true number, of counts and truths of one shape, in the ranges that occur."""
    found: dict[str, BucketCount] = {}
    for first, last in BUCKETS:
        here = (truth >= first) & (truth <= last if last is not None else True)
        if here.any():
            error = np.abs(numbers - truth)[here]
            name = f"{first}+" if last is None else str(first) if first == last else f"{first}-{last}"
            exact, near = float((error == 0).mean()), float((error <= 1).mean())
            found[name] = BucketCount(int(here.sum()), float(error.mean()), exact, near)
    return found


def _class_count(threshold: float, origin: Origin, numbers: Counts, truth: Counts) -> ClassCount:
    error = np.abs(numbers - truth)
    low, high = bootstrap_mean(error)
    few = (truth >= 1) & (truth <= 10)
    total, true = int(numbers.sum()), int(truth.sum())
    return ClassCount(
        threshold=threshold,
        threshold_from=origin,
        mae=float(error.mean()),
        mae_low=low,
        mae_high=high,
        exact=float((error == 0).mean()),
        within_one=float((error <= 1).mean()),
        exact_1_10=_share(error == 0, few),
        n_1_10=int(few.sum()),
        total=total,
        truth=true,
        total_error=(total - true) / true if true else None,
        buckets=by_bucket(numbers, truth),
    )


def _share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> float | None:
    return float(hits[among].mean()) if among.any() else None
