"""Average precision of boxes at IoU 0.5, by the reference implementation (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.lookup import Place
from training.errors import require_extra
from training.evaluation.objects import ObjectTask
from training.evaluation.vocabulary import prompt_id

RECALLS = np.linspace(0.0, 1.0, 101)
_PLACES = 1000  # more than a graph gives: no place is left out


def average_precision(task: ObjectTask, places: Sequence[Sequence[Place]]) -> dict[str, NDArray[np.float64]]:
    """Precision (101,) at every recall of RECALLS, by class that the images show; its mean is the AP.

    A place with most of its box in a region that the annotators left open is neither right nor wrong.

    Args:
        task: the classes and their true boxes.
        places: of every image of `task.samples`, all places down to the lowest score.

    Raises:
        MissingExtra: pycocotools is not installed.
    """
    require_extra("train", "pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
        truth = COCO()
        truth.dataset = _truth(task)
        truth.createIndex()
        found = COCO()
        found.dataset = {**truth.dataset, "annotations": _found(task, places)}
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.recThrs = RECALLS
        evaluation.params.maxDets = [_PLACES]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    curves = evaluation.eval["precision"][0, :, :, 0, 0]  # (recalls, classes); -1 where there is no truth
    return {name: curves[:, i] for i, name in enumerate(task.names) if (curves[:, i] >= 0).all()}


def _truth(task: ObjectTask) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, sample in enumerate(task.samples):
        for label, box in zip(sample.labels.tolist(), sample.boxes(), strict=True):
            annotations.append(_annotation(image, label, box))
        for region in sample.ignored:
            annotations += [_annotation(image, label, region, crowd=1) for label in range(len(task.names))]
    for number, annotation in enumerate(annotations):
        annotation["id"] = number + 1  # 0 stands for no match
    return {
        "info": {},
        "images": [{"id": image} for image in range(len(task.samples))],
        "categories": [{"id": label, "name": name} for label, name in enumerate(task.names)],
        "annotations": annotations,
    }


def _found(task: ObjectTask, places: Sequence[Sequence[Place]]) -> list[dict[str, Any]]:
    labels = {prompt_id(name): label for label, name in enumerate(task.names)}
    rows = [
        {**_annotation(image, labels[place.prompt], place.box), "score": place.score}
        for image, of_image in enumerate(places)
        for place in of_image
    ]
    return [{**row, "id": number + 1} for number, row in enumerate(rows)]


def _annotation(
    image: int, label: int, box: Sequence[float] | NDArray[Any], crowd: int = 0
) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(side) for side in box)
    size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
    return {"image_id": image, "category_id": label, "iscrowd": crowd, **size}
