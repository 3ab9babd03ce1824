"""Readers of annotation formats; each gives samples of one split in the order of the files' names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.errors import DataError
from training.readers import captions, coco, masks, points, yolo
from training.samples import ObjectSample

Reader = Callable[[Path, str], tuple[tuple[str, ...], list[ObjectSample]]]

OBJECT_READERS: dict[str, Reader] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "colour_masks": masks.read,
    "points": points.read,
}
__all__ = ["OBJECT_READERS", "Reader", "captions", "detect_format"]


def detect_format(folder: Path) -> str:
    """The name of the reader whose files lie in the folder. Raises DataError where none does."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (name the folder of a data set)")
    if any(folder.glob("instances_*.json")):
        return "coco"
    if (folder / "data.yaml").is_file():
        return "yolo"
    if (folder / "class_dict.csv").is_file():
        return "colour_masks"
    if (folder / "points").is_dir():
        return "points"
    if any(folder.glob("dataset*.json")):
        return "karpathy"
    if any(child.is_dir() and child.name != "images" for child in folder.glob("*")):
        return "class_folders"
    raise DataError(f"{folder}: no annotations that a reader knows (name them with --format)")
