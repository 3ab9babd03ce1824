"""`remoteclip eval zeroshot` and `retrieval`: whole images against sentences, by the drone's own engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.pipeline import Pipeline
from edge.prompts import in_memory_list
from edge.text_encoder import TextEncoder
from firmware_cfg.errors import RemoteclipError
from training.evaluation.frames import frame_of
from training.evaluation.intervals import bootstrap_mean
from training.evaluation.vocabulary import prompt_id, scene_list
from training.progress import track
from training.readers import captions, detect_format
from training.samples import CaptionSample
from training.validation import recalls


@dataclass(frozen=True, slots=True)
class ZeroShotReport:
    """Zero-shot classification: top-1 accuracy with its 95% interval, over n images of some classes."""

    dataset: str
    n: int
    classes: int
    top1: float
    top1_low: float
    top1_high: float

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """Caption retrieval over n images: the six recalls and their mean, fractions."""

    dataset: str
    split: str
    n: int
    mean_recall: float
    recalls: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        flat = asdict(self)
        return {**{k: v for k, v in flat.items() if k != "recalls"}, **self.recalls}


def evaluate_zeroshot(bundle: Bundle, folder: Path, split: str = "all") -> ZeroShotReport:
    """Classify every image by the scene prompt it is most similar to.

    Class folders have no splits; of a caption set the class is its label, or the letters its file name begins
    with.
    """
    samples = _labelled(folder, split)
    names = sorted({sample.label for sample in samples})
    prompts = scene_list(folder.name, names)
    hits = []
    with Pipeline(bundle, in_memory_list(prompts), independent=True) as pipeline:
        for number, sample in enumerate(track(samples, f"{folder.name}: zero-shot")):
            cosines = pipeline.process(frame_of(sample.path, number)).scores.scene_raw
            hits.append(max(cosines, key=cosines.__getitem__) == prompt_id(sample.label))
    low, high = bootstrap_mean(hits)
    return ZeroShotReport(folder.name, len(samples), len(names), float(np.mean(hits)), low, high)


def evaluate_retrieval(bundle: Bundle, folder: Path, split: str = "test") -> RetrievalReport:
    """Recall of captions by images and of images by captions: a hit if any positive is among the best k."""
    samples = captions.read_karpathy(folder, split)
    if not samples:
        raise RemoteclipError(f"{folder}: no images in split {split}")
    texts = [text for sample in samples for text in sample.captions]
    encoder = TextEncoder(bundle)
    text = encoder.encode(list(track(texts, f"{folder.name}: sentences")))
    encoder.close()
    image = embeddings(bundle, samples)
    owner = np.repeat(np.arange(len(samples)), [len(sample.captions) for sample in samples])
    found = recalls(torch.from_numpy(image @ text.T), torch.from_numpy(owner))
    return RetrievalReport(folder.name, split, len(samples), float(np.mean(list(found.values()))), found)


def embeddings(bundle: Bundle, samples: Sequence[CaptionSample]) -> NDArray[np.float32]:
    """Unit embeddings (N, D) of whole images, as the drone computes them."""
    any_prompt = in_memory_list(scene_list("", ["scene"]))
    rows = []
    with Pipeline(bundle, any_prompt, independent=True) as pipeline:
        for number, sample in enumerate(track(samples, "images")):
            rows.append(np.array(pipeline.process(frame_of(sample.path, number)).scores.embedding))
    return np.stack(rows)


def _labelled(folder: Path, split: str) -> list[CaptionSample]:
    form = detect_format(folder)
    if form == "class_folders":
        return captions.read_class_folders(folder)
    if form != "karpathy":
        raise RemoteclipError(f"{folder}: {form} has no whole-image classes (use eval count)")
    splits = ("train", "val", "test") if split == "all" else (split,)
    samples = [sample for part in splits for sample in captions.read_karpathy(folder, part)]
    if not samples:
        raise RemoteclipError(f"{folder}: no images in split {split}")
    return [
        CaptionSample(s.path, s.captions, s.label or re.sub(r"[\d_]+$", "", s.path.stem)) for s in samples
    ]
