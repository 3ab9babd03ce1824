"""COCO instance files: `instances_<split>.json` beside `images/`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.readers.files import entry, load_json
from training.samples import ObjectSample, object_sample

_OPEN = ("dontcare", "ignore", "ignored")  # categories that mark regions, not objects
_Box = tuple[float, float, float, float]


def read(folder: Path, split: str) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split; boxes are clipped to the image, those of zero area dropped.

    Raises MissingSplit without the file, DataError naming file and entry for what is malformed.
    """
    file = folder / f"instances_{split}.json"
    document = load_json(file)
    with entry(file, "top level"):
        images, annotations = list(document["images"]), list(document["annotations"])
        categories = {c["id"]: str(c["name"]) for c in document["categories"]}
    names = tuple(name for name in categories.values() if name.lower() not in _OPEN)
    by_image: dict[Any, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for number, annotation in enumerate(annotations):
        with entry(file, f"annotations[{number}]"):
            by_image[annotation["image_id"]].append((number, annotation))
    samples: list[ObjectSample] = []
    for number, image in enumerate(images):
        with entry(file, f"images[{number}]"):
            identity, name = image["id"], str(image["file_name"])
            width, height = float(image["width"]), float(image["height"])
        boxes: list[_Box] = []
        labels: list[int] = []
        ignored: list[_Box] = []
        for at, annotation in by_image.pop(identity, ()):
            with entry(file, f"annotations[{at}]"):
                box = _clipped(annotation["bbox"], width, height)
                category = categories.get(annotation["category_id"])
                if category is None:
                    raise ValueError(f"category_id {annotation['category_id']} is not among the categories")
                open_region = category not in names or annotation.get("iscrowd")
            if not (box[2] > box[0] and box[3] > box[1]):
                continue
            if open_region:
                ignored.append(box)
            else:
                boxes.append(box)
                labels.append(names.index(category))
        samples.append(object_sample(folder / "images" / name, boxes, labels, ignored))
    for image_id, orphans in by_image.items():
        with entry(file, f"annotations[{orphans[0][0]}]"):
            raise ValueError(f"image_id {image_id} is not among the images")
    return names, sorted(samples, key=lambda sample: str(sample.path))


def _clipped(box: Sequence[float], width: float, height: float) -> _Box:
    x, y, w, h = (float(number) for number in box)
    if not all(math.isfinite(number) for number in (x, y, w, h)):
        raise ValueError(f"bbox {list(box)} is not four finite numbers")
    return max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
