"""Draws the shipped probe set anew: `python -m compile.gate.draw [FOLDER]`.

The drawn pictures are this project's own. Under PHOTOGRAPHS are crops of the aerial photographs that the PyPI
wheel deepforest carries (MIT), with the trees that people marked in them.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from compile.gate.draw.paint import Thing
from compile.gate.draw.scenes import SCENES
from compile.gate.probe import SHIPPED, SPLIT
from edge.demo.orthophoto import INSTALL, PACKAGE
from edge.files import write_atomically
from firmware_cfg.errors import SourceError

JPEG_QUALITY = 72
_LEAST_INSIDE = 0.5


@dataclass(frozen=True, slots=True)
class Photograph:
    """A square crop of a photograph: its file in the wheel, x, y and side there, sentences about it."""

    name: str
    file: str
    corner: tuple[int, int]
    captions: tuple[str, str]
    side: int = 176


_YELLOWSTONE = "2019_YELL_2_528000_4978000_image_crop2.png"
PHOTOGRAPHS = (
    Photograph(
        "young_trees",
        _YELLOWSTONE,
        (1513, 1370),
        (
            "small green trees grow at the edge of a meadow .",
            "bushes and young trees are scattered on dry grass .",
        ),
    ),
    Photograph(
        "conifers",
        _YELLOWSTONE,
        (1381, 1940),
        ("a few tall trees throw long shadows on a green slope .", "some conifers stand on the grass ."),
    ),
    Photograph(
        "meadow",
        _YELLOWSTONE,
        (80, 340),
        ("a dry meadow with stones and low plants .", "it is a large piece of grassland ."),
    ),
    Photograph(
        "forest",
        "2019_YELL_2_541000_4977000_image_crop.png",
        (577, 64),
        ("many green trees are in a dense forest .", "it is a forest of conifers seen from above ."),
    ),
    Photograph(
        "pines",
        "OSBS_029.png",
        (210, 51),
        ("some green trees grow on sandy ground .", "an open pine wood with sand between the trees ."),
    ),
)

README = """\
# Probe set

What `remoteclip compile gate` measures a conversion on unless it is given a set of the user's own: {pictures}
pictures, {things} objects, two sentences a picture. COCO boxes in `instances_val.json`, sentences in
`dataset.json`. Made by `python -m compile.gate.draw`; do not edit by hand.

Pictures named `photo_...` are crops of aerial photographs (NEON) of the PyPI wheel deepforest
2.1.0 (MIT licence, Copyright (c) 2019 Ben Weinstein), with the trees that people marked; all others are drawn
by this project (Apache-2.0). They are no test of how well a model sees: only of whether two see alike.
"""


def make_probe(folder: Path) -> None:
    """Write pictures, boxes, sentences and README.md into the folder.

    Raises SourceError where the wheel deepforest is not installed, OSError.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    sentences: list[dict[str, Any]] = []
    boxes: list[tuple[int, Thing]] = []
    for name, picture, things, captions in (*_drawn(), *_photographed()):
        number, file = len(images) + 1, f"{name}.jpg"
        _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        write_atomically(folder / "images" / file, encoded.tobytes())
        images.append(
            {"id": number, "file_name": file, "width": picture.shape[1], "height": picture.shape[0]}
        )
        boxes += [(number, thing) for thing in things]
        sentences.append(
            {"filename": file, "split": SPLIT, "sentences": [{"raw": text} for text in captions]}
        )
    _write_json(folder / f"instances_{SPLIT}.json", _coco(images, boxes))
    _write_json(folder / "dataset.json", {"images": sentences})
    readme = README.format(pictures=len(images), things=len(boxes))
    write_atomically(folder / "README.md", readme.encode())


_Picture = tuple[str, NDArray[np.uint8], list[Thing], tuple[str, str]]


def _drawn() -> list[_Picture]:
    found = []
    for scene in SCENES:
        canvas, captions = scene.painted()
        found.append((scene.name, canvas.picture(), canvas.things, captions))
    return found


def _photographed() -> list[_Picture]:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"the photographs of the probe set are not installed ({INSTALL})")
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    found = []
    for photo in PHOTOGRAPHS:
        x, y = photo.corner
        pixels = cv2.imread(str(data / photo.file), cv2.IMREAD_COLOR)
        if pixels is None:
            raise SourceError(f"{data / photo.file}: not a readable image ({INSTALL} --force-reinstall)")
        crop = np.asarray(pixels[y : y + photo.side, x : x + photo.side, ::-1], np.uint8)
        things = _trees((data / photo.file).with_suffix(".xml"), photo)
        found.append((f"photo_{photo.name}", crop, things, photo.captions))
    return found


def _trees(annotation: Path, photo: Photograph) -> list[Thing]:
    """Trees that lie at least half inside of the crop, cut to it."""
    x0, y0 = photo.corner
    trees = []
    for box in ElementTree.parse(annotation).getroot().iter("bndbox"):
        x1, y1, x2, y2 = (float(box.findtext(corner, "")) for corner in ("xmin", "ymin", "xmax", "ymax"))
        left, top = max(x1 - x0, 0.0), max(y1 - y0, 0.0)
        right, bottom = min(x2 - x0, photo.side), min(y2 - y0, photo.side)
        inside = max(right - left, 0.0) * max(bottom - top, 0.0)
        if inside >= _LEAST_INSIDE * (x2 - x1) * (y2 - y1) > 0:
            trees.append(Thing("tree", (left, top, right, bottom)))
    return trees


def _coco(images: list[dict[str, Any]], boxes: list[tuple[int, Thing]]) -> dict[str, Any]:
    names = sorted({thing.name for _, thing in boxes})
    annotations = []
    for number, (image, thing) in enumerate(boxes, start=1):
        x1, y1, x2, y2 = thing.box
        bbox = [round(value, 1) for value in (x1, y1, x2 - x1, y2 - y1)]
        category = names.index(thing.name) + 1
        annotations.append({"id": number, "image_id": image, "category_id": category, "bbox": bbox})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(document, separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    make_probe(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED)
