"""VisDrone detection files: `annotations/<image>.txt` beside `images/`, eight numbers a line.

A line is `left,top,width,height,score,category,truncation,occlusion`. By the set's own rules category 0 is a
region that nobody annotated, and a box of score 0 is to be left out of any evaluation.
"""

from __future__ import annotations

from pathlib import Path

from training.readers.files import annotation_folder, finite, image_files, split_folders
from training.readers.findings import Box, Entries, Fault, Findings
from training.readers.pictures import measured, note_strays
from training.samples import ObjectSample, object_sample

NAMES = (
    "pedestrian",
    "people",
    "bicycle",
    "car",
    "van",
    "truck",
    "tricycle",
    "awning-tricycle",
    "bus",
    "motor",
    "others",
)
_IGNORED_REGION = 0  # the categories of NAMES follow it, from 1


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """VisDrone's eleven classes and the samples of a split; unannotated regions and boxes of score 0 ignored.

    The set's own folders (`VisDrone2019-DET-train`, `-val`, `-test-dev`) may be the folder or lie in it.
    Raises MissingSplit without the split; DataError for an image without its annotation file and, naming
    file and line, for a malformed line, unless there is a collector.
    """
    images, tables = split_folders(folder, split, "images", "annotations")
    annotation_folder(tables)
    samples: list[ObjectSample] = []
    for path in image_files(images):
        entries = Entries(tables / f"{path.stem}.txt", findings)
        lines = entries.lines(demanded=True)
        frame = measured(path, findings)
        if lines is not None and frame is not None:
            samples.append(_sample(path, entries, lines, frame))
    note_strays(images, tables, ".txt", findings)
    return NAMES, samples


def _sample(path: Path, entries: Entries, lines: list[str], frame: tuple[int, int]) -> ObjectSample:
    boxes: list[Box] = []
    labels: list[int] = []
    ignored: list[Box] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        with entries.entry(number):
            corners, score, category = _fields(line)
            box = entries.framed(number, corners, *frame)
            if box is None:
                continue
            if category == _IGNORED_REGION or score == 0:
                ignored.append(box)
            else:
                boxes.append(box)
                labels.append(category - 1)
    if not labels:
        entries.note("empty_annotation", "", f"{path.name} has no objects")
    return object_sample(path, boxes, labels, ignored)


def _fields(line: str) -> tuple[Box, float, int]:
    """Box x1, y1, x2, y2, score and category of a line."""
    try:
        # Some releases end their lines with a comma.
        x, y, w, h, score, category, _truncation, _occlusion = finite(*line.strip().rstrip(",").split(","))
    except ValueError as error:
        raise Fault(
            "malformed_entry",
            f"expected `left,top,width,height,score,category,truncation,occlusion`, got {line!r}",
        ) from error
    if category not in range(len(NAMES) + 1):
        raise Fault("unknown_class", f"category {category:g} is not one of VisDrone's 0 to {len(NAMES)}")
    return (x, y, x + w, y + h), score, int(category)
