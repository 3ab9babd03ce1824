"""The gradient of one contrast, whole or in chunks that fit the memory.

In chunks it is GradCache (Gao et al., RepL4NLP 2021): features of the whole batch without activations, the
loss's gradient with respect to those features, then chunk by chunk the features again, this time with
activations, and that gradient pushed through them. By the chain rule this is the gradient of the whole batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.contrastive.batches import PairBatch
from training.contrastive.loss import info_nce
from training.processes import Processes
from training.towers.base import Towers

Features = tuple[Tensor, Tensor, Tensor]


class Encoders(nn.Module):
    """Both towers as one forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.towers = towers

    def forward(self, image: Tensor, tokens: Tensor) -> Features:
        """image (n, S, S, 3) uint8, tokens (n, L) -> unit features (n, D) twice, and the cosines' factor."""
        image_features, text_features = self.towers(image, tokens)
        return image_features, text_features, self.towers.logit_scale.exp()


@dataclass(frozen=True, slots=True)
class Contrast:
    """How the gradient of a batch is taken.

    encoders: an Encoders, or one wrapped by DistributedDataParallel; autocast: dtype of the towers'
    arithmetic, or None; scaler: of the loss, for float16; chunk: see ContrastSchedule.
    """

    encoders: nn.Module
    processes: Processes
    scaler: torch.amp.GradScaler
    autocast: torch.dtype | None = None
    chunk: int | None = None

    def accumulate(self, batch: PairBatch, weight: float, seed: int, last: bool) -> Tensor:
        """Add `weight` times the gradient of this batch's loss; returns the loss, averaged over processes.

        Only the `last` batch of a step makes the processes exchange gradients. `seed` starts the random
        numbers of the towers (dropout), chunk by chunk, so that a chunk's second pass repeats its first.
        """
        chunk = self.chunk or len(batch.image)
        if chunk >= len(batch.image):
            with self._exchange(last):
                image, text, scale = self._features(batch.image, batch.tokens, seed)
                loss = info_nce(image, text, scale, batch.pair, self.processes)
                self.scaler.scale(loss * weight).backward()
            return self.processes.mean(loss)
        return self._in_chunks(batch, chunk, weight, seed, last)

    def _in_chunks(self, batch: PairBatch, chunk: int, weight: float, seed: int, last: bool) -> Tensor:
        pieces = list(zip(batch.image.split(chunk), batch.tokens.split(chunk), strict=True))
        with torch.no_grad():
            cached = [self._features(*piece, seed + i) for i, piece in enumerate(pieces)]
        image = torch.cat([features[0] for features in cached]).requires_grad_()
        text = torch.cat([features[1] for features in cached]).requires_grad_()
        scale = cached[0][2].requires_grad_()
        loss = info_nce(image, text, scale, batch.pair, self.processes)
        image_gradients, text_gradients, scale_gradient = torch.autograd.grad(
            self.scaler.scale(loss * weight), (image, text, scale)
        )
        directions = zip(image_gradients.split(chunk), text_gradients.split(chunk), strict=True)
        for i, (piece, (along_image, along_text)) in enumerate(zip(pieces, directions, strict=True)):
            final = i == len(pieces) - 1
            with self._exchange(last and final):
                image, text, scale = self._features(*piece, seed + i)
                surrogate = (image * along_image).sum() + (text * along_text).sum()
                if final:
                    surrogate = surrogate + scale * scale_gradient
                surrogate.backward()
        return self.processes.mean(loss)

    def _features(self, image: Tensor, tokens: Tensor, seed: int) -> Features:
        torch.manual_seed(seed)
        device = self.processes.device.type
        with torch.autocast(device, dtype=self.autocast, enabled=self.autocast is not None):
            found = self.encoders(image, tokens)
        image_features, text_features, scale = found
        return image_features.float(), text_features.float(), scale.float()

    def _exchange(self, wanted: bool) -> AbstractContextManager[None]:
        if wanted or not isinstance(self.encoders, DistributedDataParallel):
            return nullcontext()
        return self.encoders.no_sync()
