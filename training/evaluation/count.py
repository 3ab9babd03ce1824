"""`remoteclip eval count`: how many of each class the drone would report, against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.pipeline import Pipeline
from edge.prompts import in_memory_list
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_list import PromptList
from training.evaluation.frames import frame_of
from training.evaluation.intervals import bootstrap_mean
from training.evaluation.vocabulary import object_list, prompt_id
from training.progress import track
from training.readers import OBJECT_READERS, detect_format
from training.samples import ObjectSample
from training.splits import belongs

LOWEST = 0.02  # thresholds are searched above this score
_GRID = np.round(np.arange(LOWEST, 0.98, 0.01), 2)


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Counting of one class: mae with its 95% interval, share of images counted exactly, and totals."""

    threshold: float
    mae: float
    mae_low: float
    mae_high: float
    exact: float
    total: int
    truth: int


@dataclass(frozen=True, slots=True)
class CountReport:
    """Counting on one split: n images, and every class by its name."""

    dataset: str
    split: str
    n: int
    classes: dict[str, ClassCount]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        return asdict(self)


def evaluate_count(bundle: Bundle, folder: Path, split: str, form: str | None = None) -> CountReport:
    """Choose every class's threshold on the set's validation images, then count on the split once.

    Raises RemoteclipError where the set has no validation images.
    """
    form = form or detect_format(folder)
    if form not in OBJECT_READERS:
        raise RemoteclipError(
            f"{folder}: {form} holds no boxes or points to count (use eval zeroshot or retrieval)"
        )
    names, train = OBJECT_READERS[form](folder, "train")
    validation = [s for s in train if belongs(folder.name, s.path, "val")]
    if not validation:
        raise RemoteclipError(f"{folder}: no validation images (add their name hashes to training/splits)")
    samples = validation if split == "val" else OBJECT_READERS[form](folder, split)[1]
    if not samples:
        raise RemoteclipError(f"{folder}: no images in split {split}")
    present = [
        i for i, name in enumerate(names) if any((s.labels == i).any() for s in (*validation, *samples))
    ]
    kept = [names[i] for i in present]
    thresholds = choose_thresholds(bundle, folder.name, kept, validation, present)
    truth = _truth(samples, len(names))[:, present]
    counted = _counts(bundle, object_list(folder.name, kept, thresholds), kept, samples)
    classes = {
        name: _class_count(thresholds[name], counted[:, i], truth[:, i]) for i, name in enumerate(kept)
    }
    return CountReport(folder.name, split, len(samples), classes)


def choose_thresholds(
    bundle: Bundle,
    dataset: str,
    names: Sequence[str],
    samples: Sequence[ObjectSample],
    columns: Sequence[int],
) -> dict[str, float]:
    """The threshold of least mean absolute error of every class; of equally good ones the middle."""
    scores: list[dict[str, list[float]]] = []
    with _pipeline(bundle, object_list(dataset, names, LOWEST)) as pipeline:
        for number, sample in enumerate(track(samples, f"{dataset}: thresholds")):
            by_class: dict[str, list[float]] = {prompt_id(name): [] for name in names}
            for place in pipeline.process(frame_of(sample.path, number)).scores.places:
                by_class[place.prompt].append(place.score)
            scores.append(by_class)
    chosen: dict[str, float] = {}
    for name, column in zip(names, columns, strict=True):
        truth = np.array([(sample.labels == column).sum() for sample in samples])
        above = np.array([(np.array(s[prompt_id(name)])[:, None] >= _GRID).sum(0) for s in scores])
        error = np.abs(above - truth[:, None]).mean(axis=0)
        best = np.flatnonzero(error <= error.min() + 1e-9)
        chosen[name] = float(_GRID[best[len(best) // 2]])
    return chosen


def _counts(
    bundle: Bundle, prompts: PromptList, names: Sequence[str], samples: Sequence[ObjectSample]
) -> NDArray[np.int64]:
    rows = []
    with _pipeline(bundle, prompts) as pipeline:
        for number, sample in enumerate(track(samples, "counting")):
            counts = pipeline.process(frame_of(sample.path, number)).counts
            rows.append([counts.prompts[prompt_id(name)].count for name in names])
    return np.array(rows, np.int64).reshape(len(samples), len(names))


def _pipeline(bundle: Bundle, prompts: PromptList) -> Pipeline:
    return Pipeline(bundle, in_memory_list(prompts), independent=True)


def _truth(samples: Sequence[ObjectSample], classes: int) -> NDArray[np.int64]:
    return np.stack([sample.counts(classes) for sample in samples])


def _class_count(threshold: float, counted: NDArray[np.int64], truth: NDArray[np.int64]) -> ClassCount:
    error = np.abs(counted - truth)
    low, high = bootstrap_mean(error)
    exact = float((error == 0).mean())
    return ClassCount(threshold, float(error.mean()), low, high, exact, int(counted.sum()), int(truth.sum()))
