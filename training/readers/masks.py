"""Colour-mask folders: `class_dict.csv`, `images/<split>`, `masks/<split>`; objects by Mask-to-Box."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.captioning.mask_to_box import boxes_of_mask
from training.errors import DataError
from training.readers.files import image_files, read_lines, split_folders
from training.readers.findings import Box, Entries, Findings
from training.readers.pictures import fits, image_problem, note_strays
from training.samples import ObjectSample, object_sample

SMALLEST_SIDE = 6  # pixels: smaller specks are annotation noise


def colours(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Class name -> RGB colour, of class_dict.csv (a title line, then `name, r, g, b`). Raises DataError."""
    file = folder / "class_dict.csv"
    rows = csv.reader(read_lines(file), skipinitialspace=True)
    table: dict[str, tuple[int, int, int]] = {}
    for row in rows:
        if rows.line_num == 1 or not row:
            continue
        try:
            name, red, green, blue = row[0].strip(), int(row[1]), int(row[2]), int(row[3])
        except (IndexError, ValueError) as error:
            raise DataError(f"{file}:{rows.line_num}: expected `name, r, g, b`") from error
        if not all(0 <= value <= 255 for value in (red, green, blue)):
            raise DataError(f"{file}:{rows.line_num}: colours are 0 to 255")
        if (red, green, blue) in table.values() or name in table:
            raise DataError(f"{file}:{rows.line_num}: class {name!r} or its colour is there already")
        table[name] = (red, green, blue)
    return table


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Colour mask as RGB (H, W, 3) uint8. Raises DataError where the file is no image."""
    mask = cv2.imread(str(path))
    if mask is None:
        raise DataError(f"{path}: not an image that OpenCV reads (remove or repair it)")
    return cv2.cvtColor(mask, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def packed(mask: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """RGB (H, W, 3) uint8 as one number a pixel, 0xRRGGBB, so that a class is one comparison."""
    wide = mask.astype(np.uint32)
    return np.asarray((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2], np.uint32)


def class_mask(codes: NDArray[np.uint32], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """1 where the packed mask has the class's colour, else 0; (H, W) uint8."""
    red, green, blue = colour
    return np.asarray(codes == (red << 16 | green << 8 | blue), np.uint8)


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split; every class's connected areas are boxed.

    Raises MissingSplit without the split; DataError for a mask that cannot be read, unless there is a
    collector, which also hears of colours that the table does not name.
    """
    table = colours(folder)
    names = tuple(table)
    images, masks = split_folders(folder, split, "images", "masks")
    samples: list[ObjectSample] = []
    for path in image_files(images):
        file = masks / f"{path.stem}.png"
        codes = _codes(file, path, findings)
        if codes is None:
            continue
        boxes: list[Box] = []
        labels: list[int] = []
        known = 0
        for label, name in enumerate(names):
            area = class_mask(codes, table[name])
            known += cv2.countNonZero(area)
            found = boxes_of_mask(area, smallest_side=SMALLEST_SIDE)
            boxes += [tuple(box) for box in found.tolist()]
            labels += [label] * len(found)
        entries = Entries(file, findings)
        if known < codes.size and findings is not None:
            _note_colours(codes, table, entries)
        if not labels:
            entries.note("empty_annotation", "", f"{path.name} has no objects")
        samples.append(object_sample(path, boxes, labels, mask=file))
    note_strays(images, masks, ".png", findings)
    return names, samples


def _codes(file: Path, image: Path, findings: Findings | None) -> NDArray[np.uint32] | None:
    """The packed mask; None, and a finding, where it does not decode or is not of its image's size."""
    problem = "" if findings is None else image_problem(file)
    if findings is not None and problem:
        findings.add("corrupt_image" if file.is_file() else "missing_annotation", file, "", problem)
        return None
    codes = packed(read_mask(file))
    return codes if fits(Entries(file, findings), "", image, codes.shape[::-1]) else None


def _note_colours(
    codes: NDArray[np.uint32], table: dict[str, tuple[int, int, int]], entries: Entries
) -> None:
    known = [red << 16 | green << 8 | blue for red, green, blue in table.values()]
    strange = codes[~np.isin(codes, known)]
    if strange.size:
        values = np.unique(strange)
        some = ", ".join(f"#{value:06x}" for value in values[:3])
        entries.note(
            "unknown_class",
            "",
            f"{len(values)} colours on {strange.size} pixels are not in class_dict.csv ({some})",
        )
