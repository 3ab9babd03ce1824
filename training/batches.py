"""Batches drawn from the recipe's sets, seeded by (seed, step): a resumed run draws the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import crop_objects, crop_scene
from training.captioning.box_to_caption import BoxToCaption
from training.errors import DataError
from training.prompts import SentenceBank, sentences
from training.readers import OBJECT_READERS, captions, masks
from training.recipe import ObjectSet, Recipe
from training.samples import CaptionSample, ObjectSample
from training.splits import FOLDER as SPLIT_LISTS
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

    image: (N, S, S, 3) uint8; sentence: (T, 384), the first N belong to the images; same: (N, T) bool, the
    pairs that are true.
    """

    image: Tensor
    sentence: Tensor
    same: Tensor


class ObjectPool:
    """One object set in memory: decoded images, samples mapped to the recipe's classes."""

    def __init__(
        self, root: Path, spec: ObjectSet, split: str, templates: list[str], thermal: list[str]
    ) -> None:
        self.spec = spec
        folder = root / spec.name
        names, samples = OBJECT_READERS[spec.format](folder, "train")
        table = masks.colours(folder) if spec.areas else {}
        for name in (*spec.objects, *spec.areas):
            if name not in names:
                raise DataError(
                    f"{folder}: no class {name!r} (the recipe names it; here are {', '.join(names)})"
                )
        self.classes = list(spec.objects)
        column = {names.index(name): i for i, name in enumerate(self.classes)}
        self.samples = [_relabelled(s, column) for s in samples if belongs(spec.name, s.path, split)]
        if not self.samples:
            raise DataError(f"{folder}: no images of split {split} (see the lists in {SPLIT_LISTS})")
        self.images = [read_rgb(s.path) for s in self.samples]
        self.areas = list(spec.areas)
        self.colours = [table[name] for name in self.areas]
        self.masks = [masks.read_mask(s.mask) if s.mask and self.areas else None for s in self.samples]
        self.showing = [
            [i for i, sample in enumerate(self.samples) if (sample.labels == label).any()]
            for label in range(len(self.classes))
        ]
        frequency = np.sqrt([len(images) for images in self.showing])
        self.rarity = frequency / frequency.sum() if frequency.any() else np.empty(0)
        chosen = thermal if spec.thermal else templates
        self.words = [sentences(spec.objects[name], chosen) for name in self.classes]
        self.area_words = [sentences(spec.areas[name], templates) for name in self.areas]

    def draw(self, rng: np.random.Generator) -> tuple[int, int | None]:
        """A random image, and the class to look at: half of the draws favour rare classes."""
        if not len(self.rarity) or rng.random() < 0.5:
            return int(rng.integers(len(self.samples))), None
        label = int(rng.choice(len(self.rarity), p=self.rarity))
        return int(rng.choice(self.showing[label])), label

    def captioned(self) -> list[tuple[NDArray[np.uint8], CaptionSample]]:
        """Every image that shows something, with its Box-to-Caption sentences."""
        names = [self.spec.objects[name][0] for name in self.classes]
        writer = BoxToCaption()
        found = []
        for image, sample in zip(self.images, self.samples, strict=True):
            height, width = image.shape[:2]
            key = f"{self.spec.name}/{sample.path.name}"
            texts = writer.caption(sample.centres, sample.labels, names, width, height, key)
            if texts:
                found.append((image, CaptionSample(sample.path, texts)))
        return found


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
        self.captioned: list[CaptionSample] = []
        self.label_words: dict[str, list[str]] = {}
        for caption_set in recipe.caption_sets:
            samples = captions.read_karpathy(root / caption_set.name, "train")
            self.captioned += [s for s in samples if belongs(caption_set.name, s.path, "train")]
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

    def dense(self, step: int, bank: SentenceBank) -> DenseBatch:
        """The dense batch of a step."""
        schedule = self.recipe.schedule
        rng = np.random.default_rng((schedule.seed, step, 0))
        drawn = rng.choice(len(self.pools), schedule.dense_batch, p=self.share)
        used = sorted(set(drawn.tolist()))
        words, first, area_first = self._draw_words(used, rng)
        side = schedule.dense_crop // 8
        heat = np.zeros((len(drawn), len(words), side, side), np.float32)
        weight = np.zeros_like(heat)
        areas: list[NDArray[np.float32]] = []
        area_rows: list[tuple[int, slice]] = []
        images, boxes, sized, cells, owners = [], [], [], [], []
        foreign = len(words) - _DISTRACTORS_A_STEP
        for n, pool_index in enumerate(drawn.tolist()):
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

    def captions(self, step: int, bank: SentenceBank) -> CaptionBatch:
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
        words += [str(w) for w in rng.choice(self.every_caption, schedule.extra_captions, replace=False)]
        same = np.array([[word in captions_of for word in words] for captions_of in own])
        for column, i in enumerate(chosen):
            if label_row[column]:
                same[:, column] = [self.captioned[j].label == self.captioned[i].label for j in chosen]
        images = np.stack(
            [
                crop_scene(self.caption_images[i], schedule.caption_crop, rng, whole=i >= self.scenes)
                for i in chosen
            ]
        )
        return CaptionBatch(torch.from_numpy(images), bank.of(words), torch.from_numpy(same))

    def stream(self, first: int, last: int, bank: SentenceBank) -> Iterator[tuple[DenseBatch, CaptionBatch]]:
        """Batches of steps first .. last - 1, the next one prepared while this one is used."""
        with ThreadPoolExecutor(1) as pool:

            def prepare(step: int) -> tuple[DenseBatch, CaptionBatch]:
                return self.dense(step, bank), self.captions(step, bank)

            following = pool.submit(prepare, first) if first < last else None
            for step in range(first, last):
                assert following is not None
                ready = following.result()
                following = pool.submit(prepare, step + 1) if step + 1 < last else None
                yield ready


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 RGB. Raises DataError where OpenCV cannot read it."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path}: not an image that OpenCV reads (remove or repair it)")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _relabelled(sample: ObjectSample, column: dict[int, int]) -> ObjectSample:
    """The sample with only the recipe's classes, numbered as the recipe lists them."""
    keep = np.isin(sample.labels, list(column))
    labels = np.array([column[int(label)] for label in sample.labels[keep]], np.int64)
    return ObjectSample(
        sample.path, sample.centres[keep], sample.sizes[keep], labels, sample.ignored, sample.mask
    )
