"""Colour-mask folders: `class_dict.csv`, `images/<split>`, `masks/<split>`; objects by Mask-to-Box.

Mask-to-Box (RemoteCLIP, section III-B): per class a binary mask, outer borders by Suzuki border following,
the box is the extent of each border.
"""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.errors import DataError
from training.readers.files import image_files, read_lines
from training.samples import ObjectSample, object_sample

_SMALLEST_SIDE = 6  # pixels: smaller specks are annotation noise


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
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def class_mask(codes: NDArray[np.uint32], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """1 where the packed mask has the class's colour, else 0; (H, W) uint8."""
    red, green, blue = colour
    return (codes == (red << 16 | green << 8 | blue)).astype(np.uint8)


def mask_to_boxes(binary: NDArray[np.uint8]) -> list[tuple[float, float, float, float]]:
    """Extents x1, y1, x2, y2 (exclusive ends) of the outer borders of a binary (H, W) mask."""
    borders, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    extents = (cv2.boundingRect(border) for border in borders)
    return [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h in extents]


def read(folder: Path, split: str) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split; every class's connected areas are boxed.

    Raises MissingSplit without the split, DataError for a mask that cannot be read.
    """
    table = colours(folder)
    names = tuple(table)
    samples: list[ObjectSample] = []
    for path in image_files(folder / "images" / split):
        mask_file = folder / "masks" / split / f"{path.stem}.png"
        codes = packed(read_mask(mask_file))
        boxes, labels = [], []
        for label, name in enumerate(names):
            for box in mask_to_boxes(class_mask(codes, table[name])):
                if min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST_SIDE:
                    boxes.append(box)
                    labels.append(label)
        samples.append(object_sample(path, boxes, labels, mask=mask_file))
    return names, samples
