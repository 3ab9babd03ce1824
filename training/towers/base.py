"""What a pair of towers answers, whichever family it belongs to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Towers(nn.Module, ABC):
    """An image and a text tower that share one embedding space.

    Images are RGB with values 0 to 255 (uint8, or float), (N, H, W, 3): scaling happens inside, as in the
    graph that flies. Embeddings are float32 of unit length. Nothing here stops gradients; wrap inference in
    `torch.inference_mode()`.

    forward: image (N, H, W, 3), tokens (T, L) int64 -> image embeddings (N, D), text embeddings (T, D); the
    form that DistributedDataParallel wraps.
    """

    name: str
    embedding_width: int
    image_size: int
    """Side in pixels of the square image that the image tower was made for."""

    @property
    @abstractmethod
    def logit_scale(self) -> Tensor:
        """Logarithm of the scale of image-text similarities, a trainable scalar."""

    @abstractmethod
    def encode_image(self, image: Tensor) -> Tensor:
        """(N, H, W, 3) -> unit embeddings (N, D)."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> token ids (T, L) int64 on the CPU, padded with 0 to the longest, cut at the limit."""

    @abstractmethod
    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Token ids (T, L) -> unit embeddings (T, D)."""

    def encode_text(self, texts: Sequence[str], batch: int = 256) -> Tensor:
        """Sentences -> unit embeddings (T, D), on the towers' device, `batch` at a time."""
        device = self.logit_scale.device
        rows = [
            self.encode_tokens(self.tokenize(texts[start : start + batch]).to(device))
            for start in range(0, len(texts), batch)
        ]
        return torch.cat(rows) if rows else torch.empty(0, self.embedding_width, device=device)

    def forward(self, image: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.encode_image(image), self.encode_tokens(tokens)


def unit(embedding: Tensor) -> Tensor:
    """Float32 of unit length along the last axis, also under autocast."""
    return F.normalize(embedding.float(), dim=-1)
