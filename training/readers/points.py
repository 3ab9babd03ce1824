"""Point folders: `images/<split>` and `points/<split>/<image>.csv` with columns x, y in pixels; one class."""

from __future__ import annotations

import csv
from pathlib import Path

from training.readers.files import annotation_folder, finite, image_files, split_folders
from training.readers.findings import Box, Entries, Findings
from training.readers.pictures import measured, note_strays
from training.samples import ObjectSample, object_sample


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """The class `point` and the samples of a split; an image without a CSV file has no points.

    Raises MissingSplit without the split; DataError naming file and line of a malformed row, unless there is
    a collector, which also hears of points outside the frame (they are left out then).
    """
    images, tables = split_folders(folder, split, "images", "points")
    annotation_folder(tables)
    samples: list[ObjectSample] = []
    for path in image_files(images):
        frame = measured(path, findings) if findings is not None else None
        if findings is not None and frame is None:
            continue
        entries = Entries(tables / f"{path.stem}.csv", findings)
        boxes = _points(entries, frame)
        if boxes is None:
            continue
        if not boxes:
            entries.note("empty_annotation", "", f"{path.name} has no points")
        samples.append(object_sample(path, boxes, [0] * len(boxes)))
    note_strays(images, tables, ".csv", findings)
    return ("point",), samples


def _points(entries: Entries, frame: tuple[int, int] | None) -> list[Box] | None:
    boxes: list[Box] = []
    lines = entries.lines()
    if lines is None:
        return None
    rows = csv.DictReader(lines)
    try:
        for row in rows:
            with entries.entry(rows.line_num, "expected columns x, y with numbers"):
                x, y = finite(row["x"], row["y"])
                if frame is not None and not (0 <= x <= frame[0] and 0 <= y <= frame[1]):
                    entries.note(
                        "box_outside",
                        rows.line_num,
                        f"point {x:g}, {y:g} in a frame of {frame[0]} x {frame[1]}",
                    )
                    continue
                boxes.append((x, y, x, y))
    except csv.Error as error:
        entries.fault("malformed_entry", rows.line_num, f"not CSV ({error})")
        return None
    return boxes
