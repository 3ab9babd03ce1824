"""DOTA files: `labelTxt/<image>.txt` beside `images/`; oriented boxes by their corners, class, difficulty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError
from training.readers.files import finite, image_files, split_folders
from training.readers.findings import Box, Entries, Fault, Findings
from training.readers.pictures import measured, note_strays
from training.readers.vocabulary import listed_classes
from training.samples import ObjectSample, object_sample

# Those of DOTA 1.0, then container-crane of 1.5, airport and helipad of 2.0.
NAMES = (
    "plane",
    "baseball-diamond",
    "bridge",
    "ground-track-field",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "tennis-court",
    "basketball-court",
    "storage-tank",
    "soccer-ball-field",
    "roundabout",
    "harbor",
    "swimming-pool",
    "helicopter",
    "container-crane",
    "airport",
    "helipad",
)
_HEADER = ("imagesource:", "gsd:")


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split, with corners and difficulty; boxes are the upright ones around.

    The classes are DOTA's eighteen, or those of `classes.txt` (one a line) where the set has its own.
    Raises MissingSplit without the split; DataError for an image without its annotation file and, naming
    file and line, for a malformed line, unless there is a collector.
    """
    names = listed_classes(folder) or NAMES
    images, tables = split_folders(folder, split, "images", "labelTxt")
    tables = _tables(tables)
    samples: list[ObjectSample] = []
    for path in image_files(images):
        entries = Entries(tables / f"{path.stem}.txt", findings)
        lines = entries.lines(demanded=True)
        frame = measured(path, findings)
        if lines is not None and frame is not None:
            samples.append(_sample(path, entries, lines, frame, names))
    note_strays(images, tables, ".txt", findings)
    return names, samples


def _tables(folder: Path) -> Path:
    """labelTxt, or the one folder that is named after a version of it (labelTxt-v1.5)."""
    if folder.is_dir():
        return folder
    found = sorted(path for path in folder.parent.glob(f"{folder.name}*") if path.is_dir())
    if len(found) != 1:
        several = ", ".join(path.name for path in found)
        mend = f"here are {several}: rename the one to use" if found else "the annotations beside the images"
        raise DataError(f"{folder}: no such folder ({mend})")
    return found[0]


def _sample(
    path: Path, entries: Entries, lines: list[str], frame: tuple[int, int], names: tuple[str, ...]
) -> ObjectSample:
    boxes: list[Box] = []
    labels: list[int] = []
    corners: list[NDArray[np.float32]] = []
    difficult: list[bool] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lower().startswith(_HEADER):
            continue
        with entries.entry(number):
            points, name, hard = _fields(line)
            if name not in names:
                raise Fault(
                    "unknown_class", f"class {name!r} is none of DOTA's (list a set's own in classes.txt)"
                )
            x, y = points[::2], points[1::2]
            box = entries.framed(number, (min(x), min(y), max(x), max(y)), *frame)
            if box is not None:
                boxes.append(box)
                labels.append(names.index(name))
                corners.append(np.asarray(points, np.float32).reshape(4, 2))
                difficult.append(hard)
    if not labels:
        entries.note("empty_annotation", "", f"{path.name} has no objects")
    return object_sample(path, boxes, labels, corners=corners, difficult=difficult)


def _fields(line: str) -> tuple[tuple[float, ...], str, bool]:
    """The eight coordinates, class and difficulty of a line; early releases leave difficulty out."""
    fields = line.split()
    try:
        if len(fields) not in (9, 10):
            raise ValueError(f"{len(fields)} fields")
        return finite(*fields[:8]), fields[8], int(fields[9]) > 0 if len(fields) == 10 else False
    except ValueError as error:
        raise Fault(
            "malformed_entry", f"expected `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`, got {line!r}"
        ) from error
