"""`remoteclip eval localisation`: are the places where the things are?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from edge.lookup import Place
from training.evaluation.average_precision import RECALLS, average_precision
from training.evaluation.intervals import bootstrap_ratio
from training.evaluation.objects import ObjectTask, inside, object_task
from training.evaluation.operating import Asked, Origin, Size, choose
from training.evaluation.sightings import Observer, centres
from training.evaluation.vocabulary import prompt_id
from training.samples import ObjectSample

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

Interval = tuple[float, float]
RADIUS = 10.0
"""Pixels; what the authors of the urban tree set match within (arXiv 2208.10607)."""
_FAR = 1e9


@dataclass(frozen=True, slots=True)
class ClassPlaces:
    """Localisation of one class.

    truth, found, matched: true things, places above the threshold, and pairs of the two; precision (matched /
    found) and recall (matched / truth) with their 95% intervals over images, None where nothing is there;
    distance: mean distance of the pairs' centres in pixels of the image; ap50: average precision of boxes at
    IoU 0.5 over all thresholds (101 recall points, COCO), None for points and for what no image shows.
    """

    threshold: float
    threshold_from: Origin
    truth: int
    found: int
    matched: int
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    distance: float | None
    ap50: float | None


@dataclass(frozen=True, slots=True)
class LocalisationReport:
    """Localisation on one split: n images, every class by its name.

    precision, recall: of all classes' places together, with 95% intervals over images; map50: mean of the
    classes' ap50; radius: how near, in pixels, a place must be to a truth that is a point; curves: by class,
    precision at the recalls 0, 0.01 ... 1 at IoU 0.5.
    """

    dataset: str
    split: str
    n: int
    image_size: Size | None
    radius: float
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    map50: float | None
    classes: dict[str, ClassPlaces]
    curves: dict[str, tuple[float, ...]]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        document = asdict(self)
        del document["curves"]
        return document

    def plot(self, path: Path) -> None:
        """Draw precision against recall by class into a PNG file: curves of boxes, and the chosen points."""
        from training.evaluation.plots import axes_of, save_figure

        figure, axes = axes_of()
        for name, found in self.classes.items():
            if name in self.curves:
                axes.plot(RECALLS, self.curves[name], label=f"{name} (AP {found.ap50:.2f})")
            if found.recall is not None and found.precision is not None:
                axes.plot(found.recall, found.precision, "o", color="black", markersize=4)
        axes.set(
            xlabel="recall",
            ylabel="precision",
            xlim=(0, 1.02),
            ylim=(0, 1.02),
            title=f"{self.dataset} {self.split}: IoU 0.5; dots: centres at the thresholds in use",
        )
        if self.curves:
            axes.legend(fontsize="small")
        save_figure(figure, path)


def evaluate_localisation(
    subject: Subject,
    folder: Path,
    split: str = "test",
    *,
    form: str | None = None,
    classes: Sequence[str] = (),
    by_name: Collection[str] = (),
    thresholds: str = "validation",
    image_size: Asked = None,
    radius: float = RADIUS,
) -> LocalisationReport:
    """Match the drone's places with the true things, at the thresholds and model input that it counts with.

    A place is right if its centre lies in the box of a thing of its class that no other place is matched
    with, or within `radius` pixels of it where the truth is a point; pairs are those of least total distance.
    What lies in regions that the annotators left open is neither right nor wrong. Arguments and errors as
    `evaluate_count`; MissingExtra without pycocotools.
    """
    task = object_task(folder, split, form, classes)
    point = choose(subject, task, folder, by_name=by_name, thresholds=thresholds, image_size=image_size)
    with Observer(subject, point.prompts(task.dataset), point.image_size) as observer:
        seen = observer.observe(task.samples, f"{task.dataset}: places")
        used = observer.thresholds
        every = [observer.places(sighting, 0.0) for sighting in seen]
    boxed = any(sample.sizes.any() for sample in task.samples)
    curves = average_precision(task, every) if boxed else {}
    tallies = np.array(
        [
            _tally(sample, sighting.places, task, radius)
            for sample, sighting in zip(task.samples, seen, strict=True)
        ]
    )  # (images, classes, [truth, found, matched, summed distance])
    by_class: dict[str, ClassPlaces] = {}
    for i, name in enumerate(task.names):
        truth, found, matched, distance = tallies[:, i].sum(axis=0).tolist()
        precision, precision_interval = _ratio(tallies[:, i, 2], tallies[:, i, 1])
        recall, recall_interval = _ratio(tallies[:, i, 2], tallies[:, i, 0])
        by_class[name] = ClassPlaces(
            used[prompt_id(name)],
            point.origins[name],
            int(truth),
            int(found),
            int(matched),
            precision,
            precision_interval,
            recall,
            recall_interval,
            distance / matched if matched else None,
            float(np.mean(curves[name])) if name in curves else None,
        )
    together = tallies.sum(axis=1)
    precision, precision_interval = _ratio(together[:, 2], together[:, 1])
    recall, recall_interval = _ratio(together[:, 2], together[:, 0])
    return LocalisationReport(
        task.dataset,
        task.split,
        len(task.samples),
        point.image_size,
        radius,
        precision,
        precision_interval,
        recall,
        recall_interval,
        float(np.mean([np.mean(curve) for curve in curves.values()])) if curves else None,
        by_class,
        {name: tuple(curve.tolist()) for name, curve in curves.items()},
    )


def match(places: ArrayLike, true: ArrayLike, sizes: ArrayLike, radius: float) -> NDArray[np.float64]:
    """Distances of matched pairs, as many as there can be and of those the nearest.

    Args:
        places: (K, 2) centres of places.
        true: (T, 2) centres of things.
        sizes: (T, 2) width and height of their boxes, 0 where a thing is a point.
        radius: how near a place must be to a point.
    """
    offset = np.asarray(places, np.float64).reshape(-1, 1, 2) - np.asarray(true, np.float64).reshape(1, -1, 2)
    size = np.asarray(sizes, np.float64).reshape(1, -1, 2)
    distance = np.hypot(offset[..., 0], offset[..., 1])
    within = np.where((size > 0).all(axis=2), (np.abs(offset) <= size / 2).all(axis=2), distance <= radius)
    cost = np.where(within, distance, _FAR)
    pairs = cost[linear_sum_assignment(cost)]
    return np.asarray(pairs[pairs < _FAR])


def _tally(
    sample: ObjectSample, places: Sequence[Place], task: ObjectTask, radius: float
) -> NDArray[np.float64]:
    """(classes, 4): truth, found, matched and summed distance of one image."""
    where = centres(places)
    settled = ~inside(where, sample.ignored)
    claimed = np.array([place.prompt for place in places], np.str_)
    rows = []
    for label, name in enumerate(task.names):
        mine, true = where[settled & (claimed == prompt_id(name))], sample.labels == label
        pairs = match(mine, sample.centres[true], sample.sizes[true], radius)
        rows.append((true.sum(), len(mine), len(pairs), pairs.sum()))
    return np.array(rows, np.float64)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> tuple[float | None, Interval | None]:
    has = whole > 0
    if not has.any():
        return None, None
    return float(part.sum() / whole.sum()), bootstrap_ratio(part[has], whole[has])
