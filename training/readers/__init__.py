"""Readers of annotation formats; each gives samples of one split in the order of the files' names."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from training.errors import DataError
from training.readers import captions, coco, masks, points, yolo
from training.readers.findings import Finding, Findings
from training.readers.pictures import check_images, image_problem
from training.samples import ObjectSample


class Reader(Protocol):
    """Class names and samples of a split of the set in a folder.

    Without a collector a fault raises DataError; with one it is counted and listed, and the good rest
    returned. A set without the split raises MissingSplit either way, and so does DataError a fault that
    leaves nothing to return (no class table, no annotation file that is of the format at all).
    """

    def __call__(
        self, folder: Path, split: str, findings: Findings | None = None
    ) -> tuple[tuple[str, ...], list[ObjectSample]]: ...


OBJECT_READERS: dict[str, Reader] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "colour_masks": masks.read,
    "points": points.read,
}
__all__ = [
    "OBJECT_READERS",
    "Finding",
    "Findings",
    "Reader",
    "captions",
    "check_images",
    "detect_format",
    "image_problem",
]


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
