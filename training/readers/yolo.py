"""YOLO text files: `data.yaml`, `images/<split>`, `labels/<split>`; boxes as fractions of the image."""

from __future__ import annotations

from pathlib import Path

import cv2
import yaml

from training.errors import DataError
from training.samples import ObjectSample, object_sample


def read(folder: Path, split: str) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split. Raises DataError naming file and line for a malformed label."""
    document = yaml.safe_load((folder / "data.yaml").read_text("utf-8"))
    table = document["names"]
    names = tuple(table[k] for k in sorted(table)) if isinstance(table, dict) else tuple(table)
    samples: list[ObjectSample] = []
    for path in sorted((folder / "images" / split).iterdir()):
        image = cv2.imread(str(path))
        if image is None:
            raise DataError(f"{path}: not an image that OpenCV reads (remove or repair it)")
        height, width = image.shape[:2]
        boxes, labels = [], []
        label_file = folder / "labels" / split / f"{path.stem}.txt"
        lines = label_file.read_text("utf-8").splitlines() if label_file.is_file() else []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                label, x, y, w, h = (float(field) for field in line.split())
            except ValueError as error:
                raise DataError(f"{label_file}:{number}: expected `class x y w h`, got {line!r}") from error
            if not 0 <= int(label) < len(names):
                raise DataError(f"{label_file}:{number}: class {int(label)} is not in data.yaml")
            labels.append(int(label))
            boxes.append(
                ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            )
        samples.append(object_sample(path, boxes, labels))
    return names, samples
