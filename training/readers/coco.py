"""COCO instance files: `instances_<split>.json` beside `images/`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from training.samples import ObjectSample, object_sample

_OPEN = ("dontcare", "ignore", "ignored")  # categories that mark regions, not objects


def read(folder: Path, split: str) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split; boxes are clipped to the image, those of zero area dropped."""
    document = json.loads((folder / f"instances_{split}.json").read_text("utf-8"))
    categories = {c["id"]: c["name"] for c in document["categories"]}
    names = tuple(name for name in categories.values() if name.lower() not in _OPEN)
    by_image: dict[int, list[dict[str, object]]] = defaultdict(list)
    for annotation in document["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    samples: list[ObjectSample] = []
    for image in sorted(document["images"], key=lambda i: str(i["file_name"])):
        boxes, labels, ignored = [], [], []
        for annotation in by_image[image["id"]]:
            box = _clipped(annotation["bbox"], image["width"], image["height"])  # type: ignore[arg-type]
            name = categories[annotation["category_id"]]  # type: ignore[index]
            if name not in names or annotation.get("iscrowd"):
                ignored.append(box)
            elif box[2] > box[0] and box[3] > box[1]:
                boxes.append(box)
                labels.append(names.index(name))
        samples.append(object_sample(folder / "images" / image["file_name"], boxes, labels, ignored))
    return names, samples


def _clipped(box: list[float], width: float, height: float) -> tuple[float, float, float, float]:
    x, y, w, h = box
    return max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
