"""The quick figure by which a run keeps its best checkpoint: counting and retrieval on validation images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.errors import DataError
from training.models.lite import STRIDE, LiteImageTower
from training.models.text import project
from training.pools import ObjectPool, read_rgb
from training.prompts import SentenceBank
from training.readers import captions
from training.recipe import Recipe

_PIXELS = 640 * 640  # of the model input
_THRESHOLDS = torch.linspace(-4.0, 3.0, 36)
_IMAGES_A_SET = 40


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """How good the model is.

    count_error: by set, the mean over classes of |count - truth| / (truth + 1) at each class's best
    threshold; recall: mean of six recalls of caption retrieval, None without captioned images; score: what is
    maximised.
    """

    count_error: dict[str, float]
    recall: float | None

    @property
    def score(self) -> float:
        return (self.recall or 0.0) - float(np.mean(list(self.count_error.values())))


class Validation:
    """Validation images of every set, kept in memory."""

    def __init__(self, root: Path, recipe: Recipe) -> None:
        self.pools = [
            ObjectPool(root, spec, "val", recipe.templates, recipe.thermal_templates)
            for spec in recipe.object_sets
        ]
        by_set = {c.name: captions.read_karpathy(root / c.name, "val") for c in recipe.caption_sets}
        self.captioned = [sample for samples in by_set.values() for sample in samples]
        if recipe.caption_sets and not self.captioned:
            raise DataError(f"{root}: the caption sets have no images of split val")
        counted = {pool.spec.name: min(len(pool.samples), _IMAGES_A_SET) for pool in self.pools}
        self.images = counted | {name: len(samples) for name, samples in by_set.items()}  # by set
        self.crop = recipe.schedule.caption_crop
        self.template = recipe.templates[1]

    def class_sentences(self, pool: ObjectPool) -> list[str]:
        return [self.template.format(pool.spec.objects[name][0]) for name in pool.classes]

    def all_sentences(self) -> list[str]:
        words = [word for pool in self.pools for word in self.class_sentences(pool)]
        return words + [text for sample in self.captioned for text in sample.captions]

    @torch.inference_mode()
    def score(
        self, tower: LiteImageTower, projection: torch.nn.Module, bank: SentenceBank
    ) -> ValidationScore:
        """Evaluate the tower, which must be in eval mode."""

        def text(words: list[str]) -> Tensor:
            return project(projection, bank.of(words))

        errors = {
            pool.spec.name: self._count_error(tower, pool, text(self.class_sentences(pool)))
            for pool in self.pools
        }
        recall = self.recall(tower, projection, bank) if self.captioned else None
        return ValidationScore(errors, recall)

    def _count_error(self, tower: LiteImageTower, pool: ObjectPool, text: Tensor) -> float:
        counts, truth = [], []
        for image, sample in list(zip(pool.images, pool.samples, strict=True))[:_IMAGES_A_SET]:
            scale = min(math.sqrt(_PIXELS / (image.shape[0] * image.shape[1])), pool.spec.scale[1])
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            pixels = cv2.resize(image, None, fx=scale, fy=scale, interpolation=way)
            height, width = pixels.shape[:2]
            padded = np.full((1, -(-height // 32) * 32, -(-width // 32) * 32, 3), 114, np.uint8)
            padded[0, :height, :width] = pixels
            cell = tower(torch.from_numpy(padded)).cell
            logits = tower.logit_scale.exp() * torch.einsum("ndhw,pd->nphw", cell, text) + tower.logit_bias
            peaks = logits >= F.max_pool2d(logits, 3, 1, 1)
            above = logits[0, :, None] > _THRESHOLDS[None, :, None, None]
            inside = (above & peaks[0, :, None])[..., : -(-height // STRIDE), : -(-width // STRIDE)]
            counts.append(inside.sum((2, 3)))
            truth.append(torch.from_numpy(sample.counts(len(pool.classes))))
        true = torch.stack(truth)[:, :, None]
        error = ((torch.stack(counts) - true).abs() / (true + 1)).mean(0)
        present = true[:, :, 0].sum(0) > 0
        return float(error.min(dim=1).values[present].mean())

    @torch.inference_mode()
    def recall(self, tower: LiteImageTower, projection: torch.nn.Module, bank: SentenceBank) -> float:
        """Mean of the six recalls of caption retrieval; the tower must be in eval mode."""
        text = project(
            projection, bank.of([caption for sample in self.captioned for caption in sample.captions])
        )
        images = [cv2.resize(read_rgb(s.path), (self.crop, self.crop)) for s in self.captioned]
        batches = torch.from_numpy(np.stack(images)).split(50)
        embedding = torch.cat([tower(batch).embedding for batch in batches])
        owner = torch.repeat_interleave(
            torch.arange(len(images)), torch.tensor([len(s.captions) for s in self.captioned])
        )
        return mean_recall(embedding @ text.T, owner)


def mean_recall(similarity: Tensor, owner: Tensor) -> float:
    """Mean of the six recalls; similarity (I, T), owner (T,) each text's image."""
    return float(np.mean(list(recalls(similarity, owner).values())))


def recalls(similarity: Tensor, owner: Tensor) -> dict[str, float]:
    """The six recalls i2t_r1 ... t2i_r10; a hit if any positive is among the best k."""
    found: dict[str, float] = {}
    ranked_texts = owner[similarity.argsort(dim=1, descending=True)[:, :10]]
    hit = ranked_texts == torch.arange(len(similarity))[:, None]
    ranked_images = similarity.T.argsort(dim=1, descending=True)[:, :10]
    back = ranked_images == owner[:, None]
    for k in (1, 5, 10):
        found[f"i2t_r{k}"] = float(hit[:, :k].any(1).float().mean())
        found[f"t2i_r{k}"] = float(back[:, :k].any(1).float().mean())
    return found
