"""Reads the recipe's sets: candidates for the shards, and the images that none of them may be near to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from firmware_cfg.names import suggest
from training.data.recipe import DataRecipe, DataSet, EvaluationSet, Validation
from training.errors import DataError
from training.readers import OBJECT_READERS, Findings, captions, detect_format
from training.readers.files import IMAGE_SUFFIXES
from training.samples import CaptionSample, ObjectSample
from training.splits import name_hash

Sample = ObjectSample | CaptionSample
FORMATS = (*OBJECT_READERS, "karpathy", "class_folders")
_READ_BY = {
    "b2c": tuple(OBJECT_READERS),
    "m2b+b2c": tuple(name for name in OBJECT_READERS if name.endswith("masks")),
    "captions": ("karpathy",),
    "class": ("karpathy", "class_folders"),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that may go into a shard. source: its set; file: below the data root; part: train or val."""

    source: str
    file: str
    part: str
    sample: Sample


@dataclass(frozen=True, slots=True)
class SourceRead:
    """A set as read. names: its classes by label, or its scene labels; findings: what was wrong with it."""

    data_set: DataSet
    form: str
    names: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    findings: Findings


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Images of an evaluation split, below the data root."""

    name: str
    split: str
    files: tuple[str, ...]


def read_source(data_set: DataSet, root: Path) -> SourceRead:
    """Read a set with its validation part. Faults of entries are collected.

    Raises DataError where the set is not there, is of another format, lacks a split, or has no class that
    the recipe speaks of.
    """
    folder = data_set.path(root)
    form = _format(folder, data_set.format, _READ_BY[data_set.captions], data_set)
    findings = Findings()
    names, samples = _read(folder, form, data_set.split, findings)
    aside: list[Sample] = []
    if data_set.validation and data_set.validation.split:
        aside = _read(folder, form, data_set.validation.split, findings)[1]
    for name in (*data_set.classes, *data_set.areas):
        if name not in names:
            mend = suggest(name, names) or "correct the recipe"
            raise DataError(f"{folder}: set {data_set.name} has no class {name!r} ({mend})")
    held_out = _held_out(data_set.name, data_set.validation, [sample.path for sample in samples])

    def candidate(sample: Sample, part: str) -> Candidate:
        return Candidate(data_set.name, _below(root, sample.path), part, sample)

    candidates = [candidate(sample, "val" if held_out(sample.path) else "train") for sample in samples]
    candidates += [candidate(sample, "val") for sample in aside]
    return SourceRead(data_set, form, names, tuple(candidates), findings)


def read_evaluation(recipe: DataRecipe, root: Path) -> list[Evaluated]:
    """The images of every evaluation split. Raises DataError where a set or split is not there."""
    return [evaluated for entry in recipe.evaluation for evaluated in _evaluated(entry, root)]


def _evaluated(entry: EvaluationSet, root: Path) -> list[Evaluated]:
    folder = root / entry.name
    if not entry.splits:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder (an evaluation set of the recipe)")
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise DataError(f"{folder}: no images below it (an evaluation set of the recipe)")
        return [Evaluated(entry.name, "all", tuple(_below(root, path) for path in found))]
    form = _format(folder, entry.format, FORMATS, None)
    evaluated: list[Evaluated] = []
    for split in entry.splits:
        samples = _read(folder, form, split, Findings())[1]
        evaluated.append(Evaluated(entry.name, split, tuple(_below(root, sample.path) for sample in samples)))
    return evaluated


def _format(folder: Path, stated: str | None, fit: tuple[str, ...], data_set: DataSet | None) -> str:
    form = stated or detect_format(folder)
    if form not in FORMATS:
        raise DataError(f"{folder}: no reader called {form!r} ({suggest(form, FORMATS)})")
    if data_set is not None and form not in fit:
        raise DataError(
            f"{folder}: captions: {data_set.captions} needs a set read as {' or '.join(fit)}, got {form}"
        )
    return form


def _read(folder: Path, form: str, split: str, findings: Findings) -> tuple[tuple[str, ...], list[Sample]]:
    """Class names or scene labels, and samples; never none, for then split or format were misnamed."""
    if form in OBJECT_READERS:
        names, objects = OBJECT_READERS[form](folder, split, findings)
        samples: list[Sample] = list(objects)
    else:
        said = (
            captions.read_karpathy(folder, split, findings)
            if form == "karpathy"
            else captions.read_class_folders(folder, findings)
        )
        names = tuple(dict.fromkeys(sample.label for sample in said if sample.label))
        samples = list(said)
    if not samples:
        raise DataError(f"{folder}: no images of split {split} (read as {form})")
    return names, samples


def _held_out(name: str, validation: Validation | None, paths: list[Path]) -> Callable[[Path], bool]:
    """Whether an image of the training split is set aside."""
    if validation is None or validation.split:
        return lambda path: False
    if validation.hashes:
        listed = validation.listed()
        if not any(name_hash(path) in listed for path in paths):
            raise DataError(f"{validation.hashes}: lists no image of set {name} (name the list of this set)")
        return lambda path: name_hash(path) in listed
    share, pattern = validation.share or 0.0, re.compile(validation.group or "(.*)")

    def chosen(path: Path) -> bool:
        match = pattern.search(path.stem)
        group = match[1] if match else path.stem
        number = int(hashlib.sha256(f"{name}/{group}".encode()).hexdigest()[:16], 16)
        return number / 16**16 < share

    return chosen


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
