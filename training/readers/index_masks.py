"""Index-mask folders: `images/`, `masks/` with a class number a pixel, `classes.csv`; objects by Mask-to-Box.

Without `classes.csv` the masks must be binary (0 and 255, or 0 and 1): one class, `foreground`.
"""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.captioning.mask_to_box import boxes_of_mask
from training.errors import DataError
from training.readers.files import annotation_folder, image_files, read_lines, split_folders
from training.readers.findings import Box, Entries, Findings, Kind
from training.readers.masks import SMALLEST_SIDE
from training.readers.pictures import fits, note_strays
from training.readers.vocabulary import OPEN_CLASSES
from training.samples import ObjectSample, object_sample

_BINARY = ({0, 255}, {0, 1})


def class_table(folder: Path) -> dict[int, str]:
    """Mask value -> class name, of classes.csv (columns `index`, `name`); empty without the file.

    Raises DataError naming file and line.
    """
    file = folder / "classes.csv"
    if not file.is_file():
        return {}
    rows = csv.DictReader(read_lines(file), skipinitialspace=True)
    columns = {column.strip().lower(): column for column in rows.fieldnames or () if column}
    table: dict[int, str] = {}
    try:
        for row in rows:
            value, name = int(row[columns["index"]]), row[columns["name"]].strip()
            if not name or value in table:
                raise ValueError("an index twice, or without a name")
            table[value] = name
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise DataError(
            f"{file}:{rows.line_num}: expected columns index, name; every index once ({error})"
        ) from error
    if not table:
        raise DataError(f"{file}: no classes (a title line `index,name`, then a class a line)")
    return table


def read_indices(path: Path) -> NDArray[np.integer[Any]]:
    """The class numbers of a mask, (H, W) integers; of a palette image the indices, not the colours.

    Raises DataError where the file is no image, or one of colours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                values = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not an image that Pillow reads ({error})") from error
    if values.ndim == 3 and values.shape[2] >= 3 and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind == "f":
        raise DataError(f"{path}: a picture in colours, not one class number a pixel")
    return values.astype(np.uint8) if values.dtype.kind == "b" else values


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split; every class's connected areas are boxed.

    Areas of a class named `ignore` or `dontcare` become ignored regions. Raises MissingSplit without the
    split; DataError for a mask that cannot be read or has values that the table does not name, unless there
    is a collector.
    """
    listed = class_table(folder)
    names = tuple(name for name in listed.values() if name.lower() not in OPEN_CLASSES) or ("foreground",)
    images, masks = split_folders(folder, split, "images", "masks")
    annotation_folder(masks)
    samples: list[ObjectSample] = []
    for path in image_files(images):
        entries = Entries(masks / f"{path.stem}.png", findings)
        values = _values(entries, path)
        if values is None:
            continue
        present = set(np.unique(values).tolist())
        if not _known(entries, values, present, listed):
            continue
        table = listed or {1: names[0], 255: names[0]}
        boxes: list[Box] = []
        labels: list[int] = []
        ignored: list[Box] = []
        for value in sorted(present & set(table)):
            found = [
                tuple(box) for box in boxes_of_mask(values == value, smallest_side=SMALLEST_SIDE).tolist()
            ]
            if table[value] in names:
                boxes += found
                labels += [names.index(table[value])] * len(found)
            else:
                ignored += found
        if not labels:
            entries.note("empty_annotation", "", f"{path.name} has no objects")
        samples.append(object_sample(path, boxes, labels, ignored, mask=entries.file))
    note_strays(images, masks, ".png", findings)
    return names, samples


def _values(entries: Entries, image: Path) -> NDArray[np.integer[Any]] | None:
    """The mask; None, and a finding, where it does not decode or is not of its image's size."""
    try:
        values = read_indices(entries.file)
    except DataError as error:
        if entries.findings is None:
            raise
        kind: Kind = "corrupt_image" if entries.file.is_file() else "missing_annotation"
        entries.note(kind, "", str(error).removeprefix(f"{entries.file}: "))
        return None
    return values if fits(entries, "", image, (values.shape[1], values.shape[0])) else None


def _known(
    entries: Entries, values: NDArray[np.integer[Any]], present: set[int], table: dict[int, str]
) -> bool:
    """Whether the mask can be read by the table; values that it does not name are a fault."""
    if not table:
        if any(present <= pair for pair in _BINARY):
            return True
        entries.fault(
            "malformed_entry", "", f"values {_some(present)}: not binary (name the classes in classes.csv)"
        )
        return False
    strange = present - set(table)
    if strange:
        pixels = int(np.isin(values, sorted(strange)).sum())
        entries.fault(
            "unknown_class", "", f"values {_some(strange)} on {pixels} pixels are not in classes.csv"
        )
    return True


def _some(values: set[int]) -> str:
    first = sorted(values)[:5]
    return ", ".join(map(str, first)) + (" ..." if len(values) > len(first) else "")
