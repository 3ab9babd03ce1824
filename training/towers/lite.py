"""remoteclip-lite's towers behind the interface of the CLIP towers, for contrastive training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from training.models.lite import LiteImageTower
from training.models.text import TextTower, load_tokenizer
from training.towers.base import Towers
from training.towers.clip_text import ClipText
from training.towers.tokenizer import clip_tokens


class LiteTowers(Towers):
    """The scene path of a lite image tower, and its text tower; see Towers for images and embeddings.

    Image sides are multiples of 32. The dense heads take no part: they get no gradient here.
    """

    def __init__(
        self, name: str, image: LiteImageTower, text: TextTower | ClipText, image_size: int = 224
    ) -> None:
        super().__init__()
        self.name = name
        self.image = image
        self.text = text
        self.image_size = image_size
        self.embedding_width = image.cell.out_channels
        self._tokenizer = load_tokenizer()

    @property
    def logit_scale(self) -> Tensor:
        return self.image.scene_scale

    def encode_image(self, image: Tensor) -> Tensor:
        return self.image.embed(self.image.trunk(self.image.normalise(image)))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        if isinstance(self.text, ClipText):
            return clip_tokens(texts, self.text.context_length)
        encoded = self._tokenizer.encode_batch(list(texts))
        rows = [entry.ids for entry in encoded]
        return torch.tensor(rows, dtype=torch.int64) if rows else torch.zeros(0, 0, dtype=torch.int64)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.text(tokens, (tokens != 0).long()))
