"""Which samples a batch holds, their crops and sentences: functions of seed, epoch and sample alone.

So a resumed run, and the same run on another number of processes, see exactly the same pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.contrastive.augment import augmented
from training.contrastive.recipe import ContrastRecipe
from training.data.reader import ShardSample
from training.errors import DataError
from training.loop import prepared_ahead
from training.processes import Processes
from training.towers.base import Towers


class Samples(Protocol):
    """Captioned images by number; training.data.reader.ShardSamples is one."""

    folder: Path

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ShardSample: ...

    def captions(self, index: int) -> tuple[str, ...]:
        """The sentences of a sample, without reading its image."""


@dataclass(frozen=True, slots=True)
class PairBatch:
    """One process's part of a batch of pairs.

    image: (n, S, S, 3) uint8; tokens: (n, L) int64; pair: (n,) int64, equal for what counts as one sentence.
    """

    image: Tensor
    tokens: Tensor
    pair: Tensor

    def to(self, device: torch.device) -> PairBatch:
        """The batch on a device."""
        return PairBatch(*(t.to(device, non_blocking=True) for t in (self.image, self.tokens, self.pair)))


class PairBatches:
    """The batches of a run, by number; every epoch is a new order, and leaves out what fills no batch."""

    def __init__(
        self, samples: Samples, towers: Towers, recipe: ContrastRecipe, processes: Processes
    ) -> None:
        self.samples = samples
        self.towers = towers
        self.recipe = recipe
        self.processes = processes
        # An empty image has no true sentence to be contrasted with.
        self.captioned = np.array([i for i in range(len(samples)) if samples.captions(i)], np.int64)
        self.an_epoch = len(self.captioned) // recipe.schedule.batch
        if not self.an_epoch:
            raise DataError(
                f"{samples.folder}: {len(self.captioned)} captioned images, fewer than a batch of"
                f" {recipe.schedule.batch} (lower schedule: batch)"
            )

    def batch(self, number: int) -> PairBatch:
        """This process's part of batch `number` of the run."""
        schedule = self.recipe.schedule
        epoch, place = divmod(number, self.an_epoch)
        order = np.random.default_rng((schedule.seed, epoch)).permutation(self.captioned)
        every = order[place * schedule.batch : (place + 1) * schedule.batch]
        share = self.processes.share(schedule.batch)
        crops, words = zip(*(self._pair(int(i), epoch) for i in every[share]), strict=True)
        if schedule.shared_captions == "positive":
            pair = [text_number(text) for text in words]
        else:
            pair = list(range(share.start, share.stop))
        image = torch.from_numpy(np.stack(crops))
        return PairBatch(image, self.towers.tokenize(words), torch.tensor(pair))

    def stream(self, first: int, last: int, workers: int) -> Generator[PairBatch, None, None]:
        """Batches first .. last - 1, prepared ahead by threads."""
        return prepared_ahead(self.batch, first, last, workers)

    def _pair(self, index: int, epoch: int) -> tuple[NDArray[np.uint8], str]:
        sample = self.samples[index]
        rng = np.random.default_rng(
            (self.recipe.schedule.seed, epoch, text_number(sample.key) & (1 << 62) - 1)
        )
        caption = sample.captions[int(rng.integers(len(sample.captions)))]
        image = augmented(sample.pixels(), self.towers.image_size, self.recipe.augmentation, rng)
        return image, caption


def text_number(text: str) -> int:
    """A number of 64 bits, signed, that stands for a text: equal for equal texts, on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)
