"""Batches drawn from the recipe's sets, seeded by step and place.

A resumed run draws the same ones, and several processes draw their parts of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import crop_objects, crop_scene
from training.errors import DataError
from training.loop import prepared_ahead
from training.pools import ObjectPool, read_rgb
from training.prompts import SentenceBank, sentences
from training.readers import captions
from training.recipe import Recipe
from training.samples import CaptionSample
from training.splits import belongs
from training.targets import area_target, object_target

_DISTRACTORS_A_STEP = 4
_CLASS_TO_CAPTION = 0.3  # share of captioned images that get their scene label as sentence


@dataclass(frozen=True, slots=True)
class DenseBatch:
    """Crops of several sets under one list of prompts.

    image: (N, S, S, 3) uint8; sentence: (P, 384) frozen text embeddings; heat, weight: (N, P, h, w), weight 0
    where a prompt was not annotated; area: (A, h, w) covered shares of the area classes of all images that
    have some, in the order of area_rows: each such image and its rows among the prompts; box (K, 4), sized
    (K,), cell (K,): see MapTarget; owner: (K,) the image of each object.
    """

    image: Tensor
    sentence: Tensor
    heat: Tensor
    weight: Tensor
    area: Tensor
    area_rows: list[tuple[int, slice]]
    box: Tensor
    sized: Tensor
    cell: Tensor
    owner: Tensor


@dataclass(frozen=True, slots=True)
class CaptionBatch:
    """Captioned crops.

    image: (n, S, S, 3) uint8: of a batch of N images those of `part`, all of them in one process; sentence:
    (T, 384), of which the first N belong to the N images; same: (N, T) bool, the pairs that are true.
    """

    image: Tensor
    sentence: Tensor
    same: Tensor
    part: slice


class Batches:
    """Draws the training batches of a recipe from the data root."""

    def __init__(self, root: Path, recipe: Recipe) -> None:
        self.recipe = recipe
        self.pools = [
            ObjectPool(root, spec, "train", recipe.templates, recipe.thermal_templates)
            for spec in recipe.object_sets
        ]
        weight = np.array([pool.spec.weight for pool in self.pools])
        self.share = weight / weight.sum()
        self.images = {pool.spec.name: len(pool.samples) for pool in self.pools}  # of training, by set
        self.captioned: list[CaptionSample] = []
        self.label_words: dict[str, list[str]] = {}
        for caption_set in recipe.caption_sets:
            samples = captions.read_karpathy(root / caption_set.name, "train")
            kept = [s for s in samples if belongs(caption_set.name, s.path, "train")]
            self.images[caption_set.name] = len(kept)
            self.captioned += kept
            for label, phrases in caption_set.labels.items():
                self.label_words[label] = sentences(phrases, recipe.templates)
        self.caption_images = [read_rgb(s.path) for s in self.captioned]
        self.scenes = len(self.captioned)  # beyond them come the object sets' images
        if recipe.schedule.box_captions:
            for pool in self.pools:
                pairs = pool.captioned()
                self.captioned += [sample for _, sample in pairs]
                self.caption_images += [image for image, _ in pairs]
        self.every_caption = [text for sample in self.captioned for text in sample.captions]
        self.distractors = sentences(recipe.distractors, recipe.templates)
        schedule = recipe.schedule
        if schedule.caption_batch > self.scenes:
            raise DataError(f"{root}: {self.scenes} captioned images, caption_batch is more (lower it)")
        boxed = len(self.captioned) - self.scenes
        if schedule.box_captions > boxed:
            raise DataError(f"{root}: {boxed} images with boxes, box_captions is more (lower it)")
        if schedule.extra_captions > len(self.every_caption):
            raise DataError(f"{root}: {len(self.every_caption)} captions, extra_captions is more (lower it)")

    def prompt_sentences(self) -> Iterator[str]:
        """Every sentence that a batch can use as a prompt."""
        for pool in self.pools:
            for words in (*pool.words, *pool.area_words):
                yield from words
        for words in self.label_words.values():
            yield from words
        yield from self.distractors

    def all_sentences(self) -> Iterator[str]:
        """Every sentence that a batch can hold: prompts, then captions."""
        yield from self.prompt_sentences()
        yield from self.every_caption

    def dense(self, step: int, bank: SentenceBank, rank: int = 0, processes: int = 1) -> DenseBatch:
        """The dense batch of a step, or the part of one of several processes."""
        schedule = self.recipe.schedule
        rng = np.random.default_rng((schedule.seed, step, 0))
        drawn = rng.choice(len(self.pools), schedule.dense_batch, p=self.share)
        used = sorted(set(drawn.tolist()))
        words, first, area_first = self._draw_words(used, rng)
        side = schedule.dense_crop // 8
        mine = range(len(drawn))[part_of(len(drawn), rank, processes)]
        heat = np.zeros((len(mine), len(words), side, side), np.float32)
        weight = np.zeros_like(heat)
        areas: list[NDArray[np.float32]] = []
        area_rows: list[tuple[int, slice]] = []
        images, boxes, sized, cells, owners = [], [], [], [], []
        foreign = len(words) - _DISTRACTORS_A_STEP
        for n, place in enumerate(mine):
            rng = np.random.default_rng((schedule.seed, step, 2, place))
            pool_index = int(drawn[place])
            pool = self.pools[pool_index]
            i, focus = pool.draw(rng)
            crop = crop_objects(
                pool.images[i],
                pool.samples[i],
                pool.masks[i],
                schedule.dense_crop,
                pool.spec.scale,
                rng,
                focus,
            )
            target = object_target(crop, len(pool.classes))
            rows = slice(first[pool_index], first[pool_index] + len(pool.classes))
            heat[n, rows] = target.heat
            weight[n, rows] = target.known
            weight[n, foreign:] = 1.0
            weight[n, self._absent_rows(pool, used, first)] = 1.0
            if pool.areas:
                areas.append(area_target(crop, pool.colours))
                area_rows.append((n, slice(area_first[pool_index], area_first[pool_index] + len(pool.areas))))
            images.append(crop.image)
            boxes.append(target.box)
            sized.append(target.sized)
            cells.append(target.cell)
            owners.append(np.full(len(target.cell), n, np.int64))
        return DenseBatch(
            torch.from_numpy(np.stack(images)),
            bank.of(words),
            torch.from_numpy(heat),
            torch.from_numpy(weight),
            torch.from_numpy(np.concatenate(areas) if areas else np.empty((0, side, side), np.float32)),
            area_rows,
            torch.from_numpy(np.concatenate(boxes)),
            torch.from_numpy(np.concatenate(sized)),
            torch.from_numpy(np.concatenate(cells)),
            torch.from_numpy(np.concatenate(owners)),
        )

    def _absent_rows(self, pool: ObjectPool, used: list[int], first: dict[int, int]) -> list[int]:
        """Rows of other pools' classes that the recipe says no image of this pool shows."""
        absent = set(pool.spec.absent)
        return [
            first[index] + row
            for index in used
            for row, name in enumerate(self.pools[index].classes)
            if absent.intersection(self.pools[index].spec.objects[name])
        ]

    def _draw_words(
        self, used: list[int], rng: np.random.Generator
    ) -> tuple[list[str], dict[int, int], dict[int, int]]:
        """One sentence a class of the used pools, then distractors; and where every pool's rows begin."""
        words: list[str] = []
        first: dict[int, int] = {}
        area_first: dict[int, int] = {}
        for index in used:
            first[index] = len(words)
            words += [str(rng.choice(choice)) for choice in self.pools[index].words]
            area_first[index] = len(words)
            words += [str(rng.choice(choice)) for choice in self.pools[index].area_words]
        words += [str(word) for word in rng.choice(self.distractors, _DISTRACTORS_A_STEP, replace=False)]
        return words, first, area_first

    def captions(self, step: int, bank: SentenceBank, rank: int = 0, processes: int = 1) -> CaptionBatch:
        """The captioned batch of a step: a caption an image, then further sentences as negatives."""
        schedule = self.recipe.schedule
        rng = np.random.default_rng((schedule.seed, step, 1))
        chosen = rng.choice(self.scenes, schedule.caption_batch, replace=False).tolist()
        boxed = len(self.captioned) - self.scenes
        chosen += (self.scenes + rng.choice(boxed, schedule.box_captions, replace=False)).tolist()
        words: list[str] = []
        label_row: list[bool] = []
        for i in chosen:
            sample = self.captioned[i]
            use_label = sample.label in self.label_words and rng.random() < _CLASS_TO_CAPTION
            label_row.append(use_label)
            words.append(str(rng.choice(self.label_words[sample.label] if use_label else sample.captions)))
        own = [set(self.captioned[i].captions) for i in chosen]
        # By number: all sentences as an array of one width would be built anew each step.
        extra = rng.choice(len(self.every_caption), schedule.extra_captions, replace=False)
        words += [self.every_caption[i] for i in extra.tolist()]
        same = np.array([[word in captions_of for word in words] for captions_of in own])
        for column, i in enumerate(chosen):
            if label_row[column]:
                same[:, column] = [self.captioned[j].label == self.captioned[i].label for j in chosen]
        part = part_of(len(chosen), rank, processes)
        images = [
            crop_scene(
                self.caption_images[chosen[place]],
                schedule.caption_crop,
                np.random.default_rng((schedule.seed, step, 3, place)),
                whole=chosen[place] >= self.scenes,
            )
            for place in range(len(chosen))[part]
        ]
        return CaptionBatch(torch.from_numpy(np.stack(images)), bank.of(words), torch.from_numpy(same), part)

    def stream(
        self, first: int, last: int, bank: SentenceBank, rank: int = 0, processes: int = 1, workers: int = 1
    ) -> Generator[tuple[DenseBatch, CaptionBatch], None, None]:
        """Batches of steps first .. last - 1, prepared ahead by threads."""

        def prepare(step: int) -> tuple[DenseBatch, CaptionBatch]:
            return self.dense(step, bank, rank, processes), self.captions(step, bank, rank, processes)

        return prepared_ahead(prepare, first, last, workers)


def part_of(batch: int, rank: int, processes: int) -> slice:
    """The images of a batch that one process computes; the parts in rank order are the batch."""
    return slice(batch * rank // processes, batch * (rank + 1) // processes)
