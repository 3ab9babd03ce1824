"""Point folders: `images/<split>` and `points/<split>/<image>.csv` with columns x, y in pixels; one class."""

from __future__ import annotations

import csv
from pathlib import Path

from training.errors import DataError
from training.samples import ObjectSample, object_sample


def read(folder: Path, split: str) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """The class `point` and the samples of a split. Raises DataError naming file and line."""
    samples: list[ObjectSample] = []
    for path in sorted((folder / "images" / split).iterdir()):
        table = folder / "points" / split / f"{path.stem}.csv"
        boxes = []
        if table.is_file():
            with table.open(encoding="utf-8", newline="") as file:
                for number, row in enumerate(csv.DictReader(file), start=2):
                    try:
                        x, y = float(row["x"]), float(row["y"])
                    except (KeyError, TypeError, ValueError) as error:
                        raise DataError(f"{table}:{number}: expected columns x, y with numbers") from error
                    boxes.append((x, y, x, y))
        samples.append(object_sample(path, boxes, [0] * len(boxes)))
    return ("point",), samples
