"""Caption retrieval on images that are not trained on: it chooses the checkpoint that a run keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.contrastive.augment import centred
from training.contrastive.batches import Samples
from training.contrastive.recipe import ValidationSet
from training.errors import DataError
from training.pools import read_rgb
from training.processes import Processes
from training.readers import captions
from training.towers.base import Towers
from training.validation import recalls

_BATCH = 64


@dataclass(frozen=True, slots=True)
class RetrievalScore:
    """The six recalls and their mean, fractions, over `images` images and `captions` sentences."""

    images: int
    captions: int
    mean_recall: float
    recalls: dict[str, float]

    def figures(self) -> dict[str, float]:
        """All fractions by name."""
        return {"mean_recall": self.mean_recall, **self.recalls}


class Retrieval:
    """Images with their sentences; scored by all processes together."""

    def __init__(
        self, name: str, load: Sequence[Callable[[], NDArray[np.uint8]]], words: Sequence[tuple[str, ...]]
    ) -> None:
        self.name = name
        self._load = load
        self._texts = [text for texts in words for text in texts]
        self._owner = np.repeat(np.arange(len(words)), [len(texts) for texts in words])

    @torch.inference_mode()
    def score(self, towers: Towers, processes: Processes) -> RetrievalScore:
        """Recalls of the towers, which must be in eval mode; every process encodes a part."""
        image = self._everywhere(len(self._load), lambda part: self._images(towers, part), processes)
        text = self._everywhere(
            len(self._texts), lambda part: towers.encode_text([self._texts[i] for i in part]), processes
        )
        found = recalls(image @ text.T, torch.from_numpy(self._owner))
        return RetrievalScore(len(image), len(text), float(np.mean(list(found.values()))), found)

    def _images(self, towers: Towers, part: Sequence[int]) -> Tensor:
        device = towers.logit_scale.device
        rows = []
        for start in range(0, len(part), _BATCH):
            crops = [centred(self._load[i](), towers.image_size) for i in part[start : start + _BATCH]]
            rows.append(towers.encode_image(torch.from_numpy(np.stack(crops)).to(device)))
        return torch.cat(rows) if rows else torch.empty(0, towers.embedding_width)

    @staticmethod
    def _everywhere(count: int, encode: Callable[[Sequence[int]], Tensor], processes: Processes) -> Tensor:
        """Embeddings (count, D) of all items on the CPU, each process having encoded every so-manieth."""
        own = encode(range(processes.rank, count, processes.count)).float().cpu()
        parts = processes.objects(own)
        every = torch.empty(count, own.shape[1])
        for rank, part in enumerate(parts):
            every[rank :: processes.count] = part
        return every


def of_caption_set(root: Path, chosen: ValidationSet) -> Retrieval:
    """A split of a caption set below the data root. Raises DataError where it has no images."""
    found = captions.read_karpathy(root / chosen.name, chosen.split)[: chosen.images]
    if not found:
        raise DataError(f"{root / chosen.name}: no images of split {chosen.split}")
    load = [partial(read_rgb, sample.path) for sample in found]
    return Retrieval(f"{chosen.name} ({chosen.split})", load, [sample.captions for sample in found])


def of_samples(samples: Samples) -> Retrieval:
    """The captioned ones of the samples. Raises DataError where there are none."""
    words = {i: texts for i in range(len(samples)) if (texts := samples.captions(i))}
    if not words:
        raise DataError(
            f"{samples.folder}: no captioned images to validate on (name a caption set: validation)"
        )
    load = [partial(_pixels, samples, i) for i in words]
    return Retrieval("the shards' val part", load, list(words.values()))


def _pixels(samples: Samples, index: int) -> NDArray[np.uint8]:
    return samples[index].pixels()
