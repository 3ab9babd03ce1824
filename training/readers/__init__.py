"""Readers of annotation formats; each gives samples of one split in the order of the files' names.

    coco          instances_<split>.json (also in annotations/), <split>/_annotations.coco.json, images/
    yolo          data.yaml, images/<split>/, labels/<split>/*.txt
    voc           Annotations/*.xml, JPEGImages/, ImageSets/Main/<split>.txt; classes.txt if there is one
    dota          images/<split>/, labelTxt/<split>/*.txt; classes.txt for classes of its own
    visdrone      images/<split>/, annotations/<split>/*.txt, or VisDrone2019-DET-<split>/
    auair         annotations.json, images/
    colour_masks  class_dict.csv (name, r, g, b), images/<split>/, masks/<split>/*.png
    index_masks   classes.csv (index, name) unless binary, images/<split>/, masks/<split>/*.png
    points        images/<split>/, points/<split>/*.csv (x, y)
    karpathy      dataset*.json, images/
    class_folders <class>/

`<part>/<split>` may as well be `<split>/<part>`. A set that is not divided has its files in `<part>` itself,
and one split, `all`; evaluations may call it `test`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from training.readers import auair, captions, coco, dota, index_masks, masks, points, visdrone, voc, yolo
from training.readers.detect import detect_format
from training.readers.findings import Finding, Findings
from training.readers.pictures import image_problem
from training.samples import ObjectSample


class Reader(Protocol):
    """Class names and samples of a split of the set in a folder.

    Without a collector a fault raises DataError; with one it is counted and listed, and the good rest
    returned. Raised either way: MissingSplit where the set does not have the split, DataError for a fault
    that leaves nothing to return (no class table, an annotation file that is not of its format at all).
    """

    def __call__(
        self, folder: Path, split: str, findings: Findings | None = None
    ) -> tuple[tuple[str, ...], list[ObjectSample]]: ...


OBJECT_READERS: dict[str, Reader] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "voc": voc.read,
    "dota": dota.read,
    "visdrone": visdrone.read,
    "auair": auair.read,
    "colour_masks": masks.read,
    "index_masks": index_masks.read,
    "points": points.read,
}
__all__ = [
    "OBJECT_READERS",
    "Finding",
    "Findings",
    "Reader",
    "captions",
    "detect_format",
    "image_problem",
]
