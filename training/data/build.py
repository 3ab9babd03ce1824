"""`remoteclip data build`: reads the sets, examines every image, chooses, speaks, and writes the shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from edge.files import write_atomically
from firmware_cfg.errors import UsageError
from training.data.annotate import Annotation, Annotator
from training.data.engine import Engine
from training.data.examination import examine_files, watched
from training.data.images import Examined, stored_size
from training.data.manifest import FILE, Manifest, Shard, Source, write_manifest
from training.data.reader import SHARDS
from training.data.recipe import DataRecipe
from training.data.report import write_report
from training.data.selection import Selection, select
from training.data.shards import (
    RECORDS,
    Entry,
    ShardPlan,
    ShardTask,
    finished_shard,
    plan_shards,
    write_shard,
)
from training.data.sources import Candidate, SourceRead, read_evaluation, read_source
from training.errors import DataError
from training.progress import track

_Part = Literal["train", "val"]
_IMAGE_FAULTS = ("corrupt_image", "missing_image", "size_mismatch")


def build(recipe: DataRecipe, root: Path, out: Path, engine: Engine, resume: bool = False) -> Manifest:
    """Build the shards of a recipe in `out`; manifest.json is written last, so its presence says finished.

    With `resume` an interrupted build goes on: what was examined and every whole shard is kept. Raises
    UsageError where `out` holds something else, ConfigErrors or DataError for a recipe that does not fit the
    data.
    """
    root, out = root.resolve(), out.resolve()
    _prepare(recipe, out, resume)
    reads = [read_source(data_set, root) for data_set in track(recipe.sets, "reading annotations")]
    evaluated = read_evaluation(recipe, root)
    files = [candidate.file for read in reads for candidate in read.candidates]
    compared = [file for split in evaluated for file in split.files]
    examined = examine_files(root, [*files, *compared], engine, out)
    annotations = _annotate(recipe, reads, examined, root)
    usable = [c for read in reads for c in read.candidates if _key(c) in annotations]
    duplicates = recipe.duplicates
    selection = select(usable, examined, evaluated, duplicates.segments, duplicates.distance)
    if not any(candidate.part == "train" for candidate in selection.kept):
        raise DataError(f"{root}: no image of the recipe is left to train on (see what was read and removed)")
    plans = _plan(recipe, selection.kept, annotations, examined)
    manifest = Manifest(
        recipe_sha256=recipe.sha256(),
        recipe=recipe.document(),
        sources=[_source(read, annotations, examined, selection) for read in reads],
        shards=_write(plans, root, out, engine),
    )
    write_report(out, root, manifest, reads, selection)
    write_manifest(out, manifest)
    return manifest


def _prepare(recipe: DataRecipe, out: Path, resume: bool) -> None:
    mark = out / RECORDS / "recipe.sha256"
    if mark.is_file():
        if not resume:
            raise UsageError(
                f"{out}: holds a build already (continue it with --resume, or name another folder)"
            )
        if mark.read_text("ascii") != recipe.sha256():
            raise UsageError(f"{out}: was begun by another recipe (name another folder)")
    elif out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: is not empty (name another folder)")
    (out / RECORDS).mkdir(parents=True, exist_ok=True)
    (out / SHARDS).mkdir(exist_ok=True)
    (out / FILE).unlink(missing_ok=True)
    write_atomically(mark, recipe.sha256().encode())


def _key(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.source, candidate.part, candidate.file


_Annotations = Mapping[tuple[str, str, str], Annotation]


def _annotate(
    recipe: DataRecipe, reads: Sequence[SourceRead], examined: Mapping[str, Examined], root: Path
) -> _Annotations:
    """What is said of every image that can be decoded and of which anything can be said."""
    found: dict[tuple[str, str, str], Annotation] = {}
    for read in track(reads, "writing captions"):
        annotator = Annotator(read.data_set, read.names, recipe.captions, recipe.seed)
        for candidate in read.candidates:
            image = examined[candidate.file]
            if image.problem:
                read.findings.add("corrupt_image", root / candidate.file, "", image.problem)
                continue
            annotation = annotator.annotate(candidate.sample, candidate.file, (image.width, image.height))
            if annotation.captions:
                found[_key(candidate)] = annotation
    return found


def _plan(
    recipe: DataRecipe,
    kept: Sequence[Candidate],
    annotations: _Annotations,
    examined: Mapping[str, Examined],
) -> list[ShardPlan]:
    entries: dict[_Part, list[Entry]] = {"train": [], "val": []}
    numbers: Counter[str] = Counter()
    for candidate in kept:
        image = examined[candidate.file]
        size = image.width, image.height
        stored = stored_size(*size, recipe.shards.longest_side)
        document = annotations[_key(candidate)].document(candidate.source, candidate.file, size, stored)
        key = f"{candidate.source}-{numbers[candidate.source]:06d}"
        numbers[candidate.source] += 1
        identity = candidate.file, image.size, image.modified
        entries["val" if candidate.part == "val" else "train"].append(Entry(key, identity, document))
    options = recipe.shards
    return [
        plan
        for part, of_part in entries.items()
        for plan in plan_shards(part, of_part, options.samples, options.jpeg_quality, recipe.seed)
    ]


def _write(plans: Sequence[ShardPlan], root: Path, out: Path, engine: Engine) -> list[Shard]:
    planned = {f"{plan.name}.tar" for plan in plans}
    for path in (out / SHARDS).iterdir():
        if path.name not in planned:  # of data that has changed since, or half written by a killed worker
            path.unlink()
    shards = [finished_shard(out, plan) for plan in track(plans, "looking for finished shards")]
    missing = [number for number, shard in enumerate(shards) if shard is None]
    tasks = [ShardTask(root, out, plans[number]) for number in missing]
    for index, shard in watched(engine.run(write_shard, tasks), len(tasks), "writing shards"):
        path = out / shard.file
        if not path.is_file() or path.stat().st_size != shard.bytes:
            raise DataError(
                f"{path}: not here though a worker wrote it (put OUT on storage that all nodes share)"
            )
        shards[missing[index]] = shard
    return [shard for shard in shards if shard is not None]


def _source(
    read: SourceRead, annotations: _Annotations, examined: Mapping[str, Examined], selection: Selection
) -> Source:
    data_set = read.data_set
    mine = [candidate for candidate in selection.kept if candidate.source == data_set.name]
    said = [annotations[_key(candidate)] for candidate in mine]
    undecoded = sum(bool(examined[candidate.file].problem) for candidate in read.candidates)
    silent = sum(_key(candidate) not in annotations for candidate in read.candidates) - undecoded
    # The reader has left some out before they could become candidates.
    faulty = sum(count for kind, count in read.findings.counts().items() if kind in _IMAGE_FAULTS)
    chosen = {_key(candidate) for candidate in mine}
    removed = [c for c in read.candidates if _key(c) in annotations and _key(c) not in chosen]
    leaking = selection.leaking()
    leaks = sum(candidate.file in leaking for candidate in removed)
    parts = Counter(candidate.part for candidate in mine)
    classes = Counter(a.names[label] for a in said for label in a.labels)
    classes.update(a.label for a in said if a.label)
    return Source(
        name=data_set.name,
        format=read.form,
        split=data_set.split,
        captions_by=data_set.captions,
        licence=data_set.licence,
        source=data_set.source,
        read=len(read.candidates) + faulty - undecoded,
        faulty=faulty,
        without_caption=silent,
        leaks=leaks,
        duplicates=len(removed) - leaks,
        train=parts["train"],
        val=parts["val"],
        captions=sum(len(a.captions) for a in said),
        boxes=sum(len(a.boxes) for a in said),
        classes=dict(sorted(classes.items())),
    )
