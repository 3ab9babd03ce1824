"""The captioned images of the ablations: people's captions, and sentences made of boxes and of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.captioning.box_to_caption import BoxToCaption
from training.captioning.words import amount
from training.pools import read_rgb
from training.readers import OBJECT_READERS, captions
from training.recipe import ObjectSet, Recipe
from training.samples import CaptionSample
from training.splits import belongs

MASKED = ("colour_masks", "index_masks")  # formats whose boxes are Mask-to-Box's
LARGEST = 10


@dataclass(frozen=True, slots=True)
class Counted:
    """A validation image that shows 1..10 of a class: ten sentences to choose from, the right one's place."""

    path: Path
    sentences: tuple[str, ...]
    truth: int


@dataclass(frozen=True, slots=True)
class AblationImages:
    """Training images by where their sentences come from, and what is asked on validation images.

    train: `people` (captions that people wrote), `boxes` (Box-to-Caption) and `masks` (Mask-to-Box, then
    Box-to-Caption); retrieval: validation images with people's captions; counted: by the same two origins.
    """

    train: dict[str, list[CaptionSample]]
    retrieval: list[CaptionSample]
    counted: dict[str, list[Counted]]


def collect(root: Path, recipe: Recipe) -> AblationImages:
    """Read a recipe's sets. Raises DataError for what cannot be read."""
    train: dict[str, list[CaptionSample]] = {"people": [], "boxes": [], "masks": []}
    counted: dict[str, list[Counted]] = {"boxes": [], "masks": []}
    retrieval: list[CaptionSample] = []
    for caption_set in recipe.caption_sets:
        folder = root / caption_set.name
        train["people"] += [
            sample
            for sample in captions.read_karpathy(folder, "train")
            if belongs(caption_set.name, sample.path, "train")
        ]
        retrieval += captions.read_karpathy(folder, "val")
    for spec in recipe.object_sets:
        origin = "masks" if spec.format in MASKED else "boxes"
        captioned, asked = _of_boxes(root, spec)
        train[origin] += captioned
        counted[origin] += asked
    return AblationImages(train, retrieval, counted)


def _of_boxes(root: Path, spec: ObjectSet) -> tuple[list[CaptionSample], list[Counted]]:
    names, samples = OBJECT_READERS[spec.format](root / spec.name, "train")
    columns = [names.index(name) for name in spec.objects]
    phrases = [phrases[0] for phrases in spec.objects.values()]
    writer = BoxToCaption()
    captioned: list[CaptionSample] = []
    asked: list[Counted] = []
    for sample in samples:
        if belongs(spec.name, sample.path, "train"):
            height, width = read_rgb(sample.path).shape[:2]
            kept = [i for i, label in enumerate(sample.labels) if label in columns]
            labels = [columns.index(int(label)) for label in sample.labels[kept]]
            key = f"{spec.name}/{sample.path.name}"
            texts = writer.caption(sample.centres[kept], labels, phrases, width, height, key)
            if texts:
                captioned.append(CaptionSample(sample.path, texts))
        elif belongs(spec.name, sample.path, "val"):
            totals = sample.counts(len(names))
            for column, phrase in zip(columns, phrases, strict=True):
                if 1 <= totals[column] <= LARGEST:
                    choices = tuple(_claim(number, phrase) for number in range(1, LARGEST + 1))
                    asked.append(Counted(sample.path, choices, int(totals[column]) - 1))
    return captioned, asked


def commonest(asked: Sequence[Counted]) -> float:
    """Share of the pairs whose true number is the commonest one."""
    (_, times), *_ = Counter(item.truth for item in asked).most_common(1)
    return times / len(asked)


def _claim(number: int, phrase: str) -> str:
    return f"there {'is' if number == 1 else 'are'} {amount(number, phrase)} in the picture"
