"""The reference prompt: learnable tokens that all prompts share, then a prompt's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.checkpoint import AnyCheckpoint
from training.models.text import TextTower
from training.torch_engine import TorchTextEncoder, text_tower
from training.towers.base import unit
from training.towers.clip_text import ClipText

TOKENS = 8


class ReferencePrompt(nn.Module):
    """Embeddings that say what the model thinks of a prompt whatever the image shows.

    The text tower stays frozen; only `tokens` (K, width) learn. They stand between the start token and the
    prompt's words, as context does in prompt learning.

    forward: () -> unit embeddings (P, D) of the texts given to `read`.
    """

    def __init__(self, checkpoint: AnyCheckpoint, tokens: int = TOKENS) -> None:
        super().__init__()
        self._encoder = TorchTextEncoder(checkpoint)
        # Not a submodule: frozen, shared with the checkpoint, and no part of the run's state.
        self._tower = [text_tower(checkpoint)]
        self._tower[0].requires_grad_(False)
        table = self._table()
        self.tokens = nn.Parameter(torch.randn(tokens, table.shape[1]) * table.std())

    def _table(self) -> Tensor:
        tower = self._tower[0]
        if isinstance(tower, TextTower):
            return cast(Tensor, cast(Any, tower.minilm.bert).embeddings.word_embeddings.weight)
        return cast(Tensor, cast(Any, tower).token_embedding.weight)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Token ids (P, L) of the texts, padded with -1; what no longer fits beside the tokens is cut."""
        room = self._encoder.max_tokens - len(self.tokens)
        rows = [self._encoder.token_ids(text) for text in texts]
        rows = [ids if len(ids) <= room else [*ids[: room - 1], ids[-1]] for ids in rows]
        ids = torch.full((len(rows), max(map(len, rows))), -1)
        for row, line in zip(ids, rows, strict=True):
            row[: len(line)] = torch.tensor(line)
        return ids

    def forward(self, ids: Tensor) -> Tensor:
        words = F.embedding(ids.clamp(min=0), self._table())
        shared = self.tokens.expand(len(ids), -1, -1)
        x = torch.cat((words[:, :1], shared, words[:, 1:]), dim=1)
        length = (ids >= 0).sum(dim=1) + len(self.tokens)
        tower = self._tower[0]
        if isinstance(tower, TextTower):
            mask = (torch.arange(x.shape[1]) < length.unsqueeze(1)).long()
            hidden = cast(Any, tower.minilm.bert)(inputs_embeds=x, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(2).to(hidden.dtype)
            mean = F.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1)
            return tower.project(mean)
        return _clip(tower, x, length)


def _clip(tower: ClipText, x: Tensor, length: Tensor) -> Tensor:
    # Attention is causal: padding after the end token changes nothing before it.
    size = x.shape[1]
    x = x + tower.positional_embedding[:size]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:size, :size]))
    return unit(x[torch.arange(len(x)), length - 1] @ tower.text_projection)
