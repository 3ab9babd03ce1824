"""CLIP's text tower without its image tower: what a light student keeps of a CLIP teacher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import CheckpointError
from training.towers.base import unit
from training.towers.clip import ClipTowers
from training.towers.spec import ClipSpec


class ClipText(nn.Module):
    """The text tower of CLIP towers, which share their weights with it.

    Its state dict has the official names.

    forward: token ids and mask (B, L) int64, L at most the context
    length -> unit embeddings (B, D). The mask says nothing that the end token does not: attention is causal.
    """

    attn_mask: Tensor

    def __init__(self, towers: ClipTowers) -> None:
        super().__init__()
        model: Any = towers.model
        self.spec = towers.spec
        self.token_embedding = model.token_embedding
        self.positional_embedding = model.positional_embedding
        self.transformer = model.transformer
        self.ln_final = model.ln_final
        self.text_projection = model.text_projection
        self.register_buffer("attn_mask", model.attn_mask, persistent=False)

    @classmethod
    def with_weights(cls, spec: ClipSpec, state: Mapping[str, Tensor], file: Path) -> ClipText:
        """The tower with float32 weights by their names. Raises CheckpointError naming `file`."""
        text = cls(ClipTowers(spec))
        try:
            text.load_state_dict(state)
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{file}: not the text tower of {spec.model} ({detail})") from error
        return text

    @property
    def context_length(self) -> int:
        """The most tokens that a sentence may have, start and end included."""
        return self.spec.config.text_cfg.context_length

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        length = input_ids.shape[1]
        x = self.token_embedding(input_ids) + self.positional_embedding[:length]
        x = self.ln_final(self.transformer(x, attn_mask=self.attn_mask[:length, :length]))
        end = input_ids.argmax(dim=1)  # the end token has the highest number
        return unit(x[torch.arange(x.shape[0], device=x.device), end] @ self.text_projection)
