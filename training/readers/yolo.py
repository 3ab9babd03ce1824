"""YOLO text files: `data.yaml`, `images/<split>`, `labels/<split>`; coordinates as fractions of the image.

A line is `class x y w h`, or `class x1 y1 x2 y2 x3 y3 ...`: an oriented box or outline, read as the upright
box around it.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from training.errors import DataError
from training.readers.files import annotation_folder, image_files, read_lines, split_folders
from training.readers.findings import Box, Entries, Fault, Findings
from training.readers.pictures import measured, note_strays
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
    if isinstance(table, dict) and sorted(table, key=str) == sorted(range(len(table)), key=str):
        table = [table[number] for number in range(len(table))]
    if not isinstance(table, list) or not table:
        raise DataError(f"{file}: names must list the classes, numbered from 0")
    return tuple(str(name) for name in table)


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split; an image without a label file has no objects.

    Raises MissingSplit without the split; DataError for an image that is none and, naming file and line, for
    a malformed label, unless there is a collector.
    """
    names = class_names(folder / "data.yaml")
    images, tables = split_folders(folder, split, "images", "labels")
    annotation_folder(tables)
    samples: list[ObjectSample] = []
    for path in image_files(images):
        frame = measured(path, findings)
        entries = Entries(tables / f"{path.stem}.txt", findings)
        lines = entries.lines()
        if frame is None or lines is None:
            continue
        boxes: list[Box] = []
        labels: list[int] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            with entries.entry(number):
                label, fractions = _fields(line, len(names))
                x1, y1, x2, y2 = (share * frame[i % 2] for i, share in enumerate(fractions))
                box = entries.framed(number, (x1, y1, x2, y2), *frame)
                if box is not None:
                    boxes.append(box)
                    labels.append(label)
        if not labels:
            entries.note("empty_annotation", "", f"{path.name} has no objects")
        samples.append(object_sample(path, boxes, labels))
    note_strays(images, tables, ".txt", findings)
    return names, samples


def _fields(line: str, classes: int) -> tuple[int, Box]:
    """Class and box x1, y1, x2, y2 in fractions of the image."""
    try:
        label, *numbers = (float(field) for field in line.split())
        if len(numbers) < 4 or len(numbers) % 2:
            raise ValueError(f"{len(numbers)} coordinates")
    except ValueError as error:
        raise Fault("malformed_entry", f"expected `class x y w h`, got {line!r}") from error
    if label not in range(classes):
        raise Fault("unknown_class", f"class {label:g} is not in data.yaml")
    low, high = -_OVERSHOOT, 1 + _OVERSHOOT
    sides = numbers[2:] if len(numbers) == 4 else []
    if not (all(low <= number <= high for number in numbers) and all(side >= 0 for side in sides)):
        raise Fault("malformed_entry", f"expected the box in fractions of the image, got {line!r}")
    if not sides:
        return int(label), (min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]))
    x, y, w, h = numbers
    return int(label), (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
