"""YOLO text files: `data.yaml`, `images/<split>`, `labels/<split>`; boxes as fractions of the image."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import yaml

from training.errors import DataError
from training.readers.files import annotation_folder, image_files, read_lines
from training.samples import ObjectSample, object_sample

_OVERSHOOT = (
    0.5  # of the image: a box may reach out of it a little, but pixels instead of fractions are an error
)


def class_names(file: Path) -> tuple[str, ...]:
    """The classes that data.yaml lists, by number. Raises DataError naming file and line."""
    try:
        document = yaml.safe_load("\n".join(read_lines(file)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise DataError(f"{file}{line}: not YAML ({getattr(error, 'problem', error)})") from error
    table = document.get("names") if isinstance(document, dict) else None
    if isinstance(table, dict) and sorted(table) == list(range(len(table))):
        table = [table[number] for number in range(len(table))]
    if not isinstance(table, list) or not table:
        raise DataError(f"{file}: names must list the classes, numbered from 0")
    return tuple(str(name) for name in table)


def read(folder: Path, split: str) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split; an image without a label file has no objects.

    Raises MissingSplit without the split, DataError naming file and line of a malformed label.
    """
    names = class_names(folder / "data.yaml")
    images = image_files(folder / "images" / split)
    tables = annotation_folder(folder / "labels" / split)
    samples: list[ObjectSample] = []
    for path in images:
        image = cv2.imread(str(path))
        if image is None:
            raise DataError(f"{path}: not an image that OpenCV reads (remove or repair it)")
        height, width = image.shape[:2]
        boxes, labels = [], []
        file = tables / f"{path.stem}.txt"
        for number, line in enumerate(read_lines(file) if file.is_file() else [], start=1):
            if not line.strip():
                continue
            label, x, y, w, h = _fields(line, f"{file}:{number}", len(names))
            labels.append(label)
            boxes.append(
                ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            )
        samples.append(object_sample(path, boxes, labels))
    return names, samples


def _fields(line: str, place: str, classes: int) -> tuple[int, float, float, float, float]:
    try:
        label, x, y, w, h = (float(field) for field in line.split())
    except ValueError as error:
        raise DataError(f"{place}: expected `class x y w h`, got {line!r}") from error
    if not (math.isfinite(label) and label == int(label) and 0 <= label < classes):
        raise DataError(f"{place}: class {label:g} is not in data.yaml")
    low, high = -_OVERSHOOT, 1 + _OVERSHOOT
    if not (low <= x <= high and low <= y <= high and 0 <= w <= high and 0 <= h <= high):
        raise DataError(f"{place}: expected the box in fractions of the image, got {line!r}")
    return int(label), x, y, w, h
