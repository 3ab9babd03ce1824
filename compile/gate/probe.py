"""The probe set: the one that ships, or a folder of the user's own that the readers know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from firmware_cfg.errors import RemoteclipError
from training.evaluation.objects import ObjectTask, object_task
from training.readers import OBJECT_READERS, captions, detect_format

SHIPPED = Path(__file__).parent / "probe"
SPLIT = "val"
"""Gates may be looked at as often as one likes, so they are measured on validation images, never on test."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Images that a reference and its variants are shown.

    Attributes:
        name: of the set, for the manifest.
        paths: every image once.
        folder: where it lies.
        task: its objects, None for a set without.
        sentences: of each image that has some.
    """

    name: str
    folder: Path
    paths: tuple[Path, ...]
    task: ObjectTask | None
    sentences: dict[Path, tuple[str, ...]]


def shipped_probe() -> Probe:
    """The set that the project made (README.md beside it)."""
    return load_probe(SHIPPED, SPLIT, "shipped")


def load_probe(folder: Path, split: str = SPLIT, name: str | None = None) -> Probe:
    """Read objects, captions, class folders, or objects and captions together.

    Args:
        folder: a set in any format that training/readers knows, or an annotation file in it.
        split: of a set that has no such split: `val` is every eighth image (as everywhere in training).
        name: default: the folder's.

    Raises:
        DataError: no such folder, nothing in it that a reader knows, or a malformed annotation.
        RemoteclipError: no images in the split.
    """
    form = detect_format(folder)
    task = object_task(folder, split, form) if form in OBJECT_READERS else None
    sentences: dict[Path, tuple[str, ...]] = {}
    labelled: list[Path] = []
    if form == "karpathy" or (folder.is_dir() and any(folder.glob("dataset*.json"))):
        sentences = {s.path: s.captions for s in captions.read_karpathy(folder, split)}
    if form == "class_folders":
        labelled = [sample.path for sample in captions.read_class_folders(folder)]
    annotated = [sample.path for sample in task.samples] if task else []
    paths = tuple(sorted({*annotated, *sentences, *labelled}))
    if not paths:
        raise RemoteclipError(
            f"{folder}: no images in split {split} to measure on (name another with --split)"
        )
    return Probe(name or folder.name, folder, paths, task, sentences)
