"""What the virtual flights fly over: real aerial photographs with a box on every thing that people marked."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo.orthophoto import GROUND_SAMPLE_DISTANCE_M, INSTALL, read_orthophoto
from firmware_cfg.errors import SourceError

_FOREST = "data/2019_YELL_2_{}_image_crop{}"
_COLUMNS, _ROWS = 3, 4


@dataclass(frozen=True, slots=True)
class Ground:
    """`pixels` (H, W, 3) uint8 RGB and `boxes` (N, 4) float64, x1 y1 x2 y2 in them."""

    name: str
    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float64]


def forest(which: str) -> Ground:
    """One of the two orthophotos of the `deepforest` wheel, `a` or `b`. Raises SourceError without it."""
    spec = find_spec("deepforest")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"tracking: the orthophotos are not installed ({INSTALL})")
    name = _FOREST.format(*(("528000_4978000", "2") if which == "a" else ("541000_4977000", "")))
    photo = Path(next(iter(spec.submodule_search_locations))) / f"{name}.png"
    read = read_orthophoto(photo, photo.with_suffix(".xml"), GROUND_SAMPLE_DISTANCE_M)
    return Ground(f"forest {which}", read.pixels, read.boxes)


def streets(data: Path, seed: int) -> Ground:
    """Drone photographs of traffic (the training images of aerial_cars) side by side, 3 x 4 of them."""
    folder = data / "aerial_cars"
    images = sorted(folder.glob("images/train/DJI*.webp"))
    if len(images) < _COLUMNS * _ROWS:
        raise SourceError(f"{folder}: has {len(images)} drone photographs, {_COLUMNS * _ROWS} are needed")
    chosen = np.random.default_rng(seed).choice(len(images), _COLUMNS * _ROWS, replace=False)
    tiles, boxes = [], []
    for place, index in enumerate(chosen.tolist()):
        bgr = cv2.imread(str(images[index]))
        assert bgr is not None, f"{images[index]} is damaged"
        height, width = bgr.shape[:2]
        tiles.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        row, column = divmod(place, _COLUMNS)
        labels = folder / "labels" / "train" / f"{images[index].stem}.txt"
        marked = np.array([line.split()[1:5] for line in labels.read_text().splitlines()], np.float64)
        centre, size = marked.reshape(-1, 2, 2).swapaxes(0, 1) * [width, height]
        corner = np.array([column * width, row * height])
        boxes.append(np.hstack([centre - size / 2 + corner, centre + size / 2 + corner]))
    rows = [np.hstack(tiles[start : start + _COLUMNS]) for start in range(0, len(tiles), _COLUMNS)]
    return Ground(f"streets {seed}", np.vstack(rows).astype(np.uint8), np.vstack(boxes))
