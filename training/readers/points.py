"""Point folders: `images/<split>` and `points/<split>/<image>.csv` with columns x, y in pixels; one class."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from training.errors import DataError
from training.readers.files import annotation_folder, image_files, read_lines
from training.samples import ObjectSample, object_sample


def read(folder: Path, split: str) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """The class `point` and the samples of a split; an image without a CSV file has no points.

    Raises MissingSplit without the split, DataError naming file and line of a malformed row.
    """
    images = image_files(folder / "images" / split)
    tables = annotation_folder(folder / "points" / split)
    samples: list[ObjectSample] = []
    for path in images:
        table = tables / f"{path.stem}.csv"
        boxes = []
        rows = csv.DictReader(read_lines(table) if table.is_file() else [])
        for row in rows:
            try:
                x, y = float(row["x"]), float(row["y"])
                if not (math.isfinite(x) and math.isfinite(y)):
                    raise ValueError("not finite")
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{table}:{rows.line_num}: expected columns x, y with numbers") from error
            boxes.append((x, y, x, y))
        samples.append(object_sample(path, boxes, [0] * len(boxes)))
    return ("point",), samples
