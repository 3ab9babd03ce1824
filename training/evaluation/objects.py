"""Sets of annotated objects as evaluations ask for them: names, validation images, and the split's images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_cfg.errors import RemoteclipError, UsageError
from firmware_cfg.names import suggest
from training.errors import MissingSplit
from training.readers import OBJECT_READERS, Reader, detect_format
from training.samples import ObjectSample
from training.splits import read_part

_Split = tuple[tuple[str, ...], list[ObjectSample]]


@dataclass(frozen=True, slots=True)
class ObjectTask:
    """The classes asked for, the images that settings are chosen on, and the images that are reported on.

    Labels index `names`. Objects of other classes, and those whose centre lies in an ignored region, are left
    out. `validation` may be empty; no image is in both, unless the split is `val` itself.
    """

    dataset: str
    split: str
    names: tuple[str, ...]
    validation: list[ObjectSample]
    samples: list[ObjectSample]

    def truth(self, samples: Sequence[ObjectSample]) -> NDArray[np.int64]:
        """(len(samples), len(names)) true counts."""
        return np.stack([sample.counts(len(self.names)) for sample in samples])


def object_task(folder: Path, split: str, form: str | None = None, classes: Sequence[str] = ()) -> ObjectTask:
    """Read a set for an evaluation.

    Args:
        folder: the set, or an annotation file in it; `split`: what is reported on, `val` for the validation
            images themselves.
        form: annotation format; default: detected.
        classes: ask for these only; default: every class that the set names, whether a split shows it or not.

    Raises:
        RemoteclipError: the set has no objects, the split no images.
        UsageError: a class that the set does not name, or the annotation file of another split.
        DataError: a malformed annotation.
    """
    folder = _folder(folder, split)
    form = form or detect_format(folder)
    if form not in OBJECT_READERS:
        raise RemoteclipError(
            f"{folder}: {form} holds no boxes or points to count (use eval zeroshot or retrieval)"
        )
    read = OBJECT_READERS[form]
    own_names, validation = _validation(folder, read)
    names, samples = (own_names, validation) if split == "val" else read(folder, split)
    if split != "val":
        aside = {sample.path for sample in validation}
        samples = [sample for sample in samples if sample.path not in aside]
    if not samples:
        raise RemoteclipError(f"{folder}: no images in split {split}")
    every = tuple(dict.fromkeys((*names, *own_names)))
    for name in classes:
        if name not in every:
            raise UsageError(f"{folder}: no class {name} in this set ({suggest(name, every)})")
    asked = tuple(classes) or every
    return ObjectTask(
        folder.name,
        split,
        asked,
        [_asked(sample, own_names, asked) for sample in validation],
        [_asked(sample, names, asked) for sample in samples],
    )


def inside(points: NDArray[np.floating], regions: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of the points (K, 2) lie in one of the regions (J, 4) x1, y1, x2, y2; (K,)."""
    x, y = points[:, :1], points[:, 1:]
    within = (x >= regions[:, 0]) & (x <= regions[:, 2]) & (y >= regions[:, 1]) & (y <= regions[:, 3])
    return np.asarray(within.any(axis=1), np.bool_)


def _folder(data: Path, split: str) -> Path:
    """The set's folder; a COCO file is the split's own, other annotation files are the whole set's."""
    if not data.is_file():
        return data
    _, found, own = data.stem.partition("instances_")
    if found and own != split:
        raise UsageError(f"{data}: annotates split {own}, not {split} (use --split {own})")
    return data.parent


def _validation(folder: Path, read: Reader) -> _Split:
    """The images that no run trains on and every run is judged by; none where the set has only others."""
    try:
        return read_part(read, folder, "val")
    except MissingSplit:
        pass  # a set without training images may still have its own for validation
    try:
        return read(folder, "val")
    except MissingSplit:
        return (), []


def _asked(sample: ObjectSample, own: tuple[str, ...], asked: tuple[str, ...]) -> ObjectSample:
    """The sample with the objects asked for; splits may number one class differently."""
    number = np.array([asked.index(name) if name in asked else -1 for name in own], np.int64)
    labels = number[sample.labels] if len(own) else sample.labels
    keep = (labels >= 0) & ~inside(sample.centres, sample.ignored)
    return ObjectSample(
        sample.path, sample.centres[keep], sample.sizes[keep], labels[keep], sample.ignored, sample.mask
    )
