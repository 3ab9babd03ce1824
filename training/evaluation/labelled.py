"""Images with one class each, and their division into training, validation and test images."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from firmware_cfg.errors import RemoteclipError
from training.errors import DataError
from training.readers import captions, detect_format
from training.readers.files import has_images
from training.samples import CaptionSample

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

SPLITS = ("train", "val", "test")
_ALIASES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_SHARE = 0.2  # of every class, for validation and again for test, where a set has no such split


@dataclass(frozen=True, slots=True)
class Division:
    """A set's classes and the images of its three parts; every part knows every class."""

    dataset: str
    names: tuple[str, ...]
    train: tuple[CaptionSample, ...]
    val: tuple[CaptionSample, ...]
    test: tuple[CaptionSample, ...]

    def labels(self, samples: Sequence[CaptionSample]) -> NDArray[np.int64]:
        """Index of each sample's class, (N,)."""
        number = {name: i for i, name in enumerate(self.names)}
        return np.array([number[sample.label] for sample in samples], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """A division's images as a model sees them: unit embeddings (N, D), class numbers (N,) of each part."""

    train: F32
    train_labels: NDArray[np.int64]
    val: F32
    val_labels: NDArray[np.int64]
    test: F32
    test_labels: NDArray[np.int64]


def embed(subject: Subject, division: Division) -> Embedded:
    """Embed every image of a division. Raises DataError for a file that is no image."""
    parts = (division.train, division.val, division.test)
    paths = [sample.path for part in parts for sample in part]
    rows = subject.image_embeddings(paths, f"{division.dataset}: images")
    train, val, test = np.split(rows, np.cumsum([len(part) for part in parts])[:-1])
    labels = [division.labels(part) for part in parts]
    return Embedded(train, labels[0], val, labels[1], test, labels[2])


def dataset_name(folder: Path) -> str:
    """What a set is called: its folder's name, also where an annotation file in it is named."""
    return folder.parent.name if folder.is_file() else folder.name


def read_labelled(folder: Path, split: str = "all") -> list[CaptionSample]:
    """Images of a split, each with its class, of a caption set or of class folders.

    A caption's class is its label, or the letters that its file name begins with. Class folders may lie below
    `train`, `val` and `test`; where a set lacks one of these splits it is the one that `divide` makes.

    Raises RemoteclipError where the set has no whole-image classes or no images of the split.
    """
    parts = _parts(folder)
    if split in SPLITS and split not in parts:
        parts = _divided(parts)
    chosen = list(parts) if split == "all" else [split]
    samples = [sample for name in chosen for sample in parts.get(name, ())]
    if not samples:
        raise RemoteclipError(f"{folder}: no images in split {split} (choose all, {', '.join(SPLITS)})")
    return samples


def divide(folder: Path) -> Division:
    """A set's own splits; where it lacks one, a fifth of every class of what it has for training.

    Which images these are follows from the SHA-256 of class and file name, so that it never changes.

    Raises RemoteclipError where a part stays empty, DataError where a class has no training image.
    """
    parts = _divided(_parts(folder))
    names = tuple(sorted({sample.label for part in parts.values() for sample in part}))
    seen = {sample.label for sample in parts["train"]}
    if missing := [name for name in names if name not in seen]:
        raise DataError(f"{folder}: no training images of class {missing[0]} (add some, or leave it out)")
    train, val, test = (tuple(parts[name]) for name in SPLITS)
    for name, part in zip(SPLITS, (train, val, test), strict=True):
        if not part:
            raise RemoteclipError(f"{folder}: no images for {name} (classes of five images give one)")
    return Division(dataset_name(folder), names, train, val, test)


def _parts(folder: Path) -> dict[str, list[CaptionSample]]:
    """The splits that a set has itself; all of it as `train` where it has none."""
    if own := _split_folders(folder):
        return {name: captions.read_class_folders(path) for name, path in own.items()}
    form = detect_format(folder)
    if form == "karpathy":
        found = {name: captions.read_karpathy(folder, name) for name in SPLITS}
        return {name: [_labelled(s) for s in samples] for name, samples in found.items() if samples}
    if form == "class_folders":
        return {"train": captions.read_class_folders(folder)}
    raise RemoteclipError(f"{folder}: {form} has no whole-image classes (use eval count)")


def _split_folders(folder: Path) -> dict[str, Path]:
    """`train`, `val` and `test` where these, and nothing else, are the folders of a set of class folders."""
    children = {child.name: child for child in sorted(folder.glob("*/"))} if folder.is_dir() else {}
    own = {name: children[alias] for name in SPLITS for alias in _ALIASES[name] if alias in children}
    if not own or len(own) < len(children):
        return {}
    below = [path for child in own.values() for path in child.glob("*/") if has_images(path)]
    return own if below else {}


def _labelled(sample: CaptionSample) -> CaptionSample:
    label = sample.label or re.sub(r"[\d_]+$", "", sample.path.stem)
    if not label:
        raise DataError(f"{sample.path}: no class, neither as label nor as the beginning of its name")
    return CaptionSample(sample.path, sample.captions, label)


def _divided(parts: Mapping[str, list[CaptionSample]]) -> dict[str, list[CaptionSample]]:
    """The parts, and those of SPLITS that were missing, set aside from `train`."""
    found = {"train": [], **parts}
    missing = [name for name in ("test", "val") if not found.get(name)]
    for done, name in enumerate(missing):
        share = _SHARE / (1 - _SHARE * done)  # of what is left, so that it is the same share of the whole
        found[name], found["train"] = _set_aside(found["train"], share)
    return found


def _set_aside(
    samples: Sequence[CaptionSample], share: float
) -> tuple[list[CaptionSample], list[CaptionSample]]:
    """A share of every class, and what is left; both in the order of the samples."""
    classes: dict[str, list[CaptionSample]] = defaultdict(list)
    for sample in samples:
        classes[sample.label].append(sample)
    chosen = {
        sample.path
        for members in classes.values()
        for sample in sorted(members, key=_lot)[: round(share * len(members))]
    }
    return [s for s in samples if s.path in chosen], [s for s in samples if s.path not in chosen]


def _lot(sample: CaptionSample) -> str:
    return hashlib.sha256(f"{sample.label}/{sample.path.name}".encode()).hexdigest()
