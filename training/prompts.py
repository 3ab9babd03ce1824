"""Phrases of classes as sentences, and their frozen MiniLM embeddings, computed once a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.models.text import MiniLM, encode_sentences


def sentences(phrases: Iterable[str], templates: Sequence[str]) -> list[str]:
    """Every phrase in every template, without repetitions, in a stable order."""
    return list(dict.fromkeys(template.format(phrase) for phrase in phrases for template in templates))


@dataclass(frozen=True, slots=True)
class SentenceBank:
    """Unit MiniLM embeddings of sentences: rows (S, 384), found by the sentence itself."""

    index: dict[str, int]
    rows: Tensor

    @classmethod
    def encode(cls, minilm: MiniLM, texts: Iterable[str]) -> SentenceBank:
        unique = list(dict.fromkeys(texts))
        # A clone, because autograd must not meet a tensor made in inference mode.
        return cls({text: i for i, text in enumerate(unique)}, encode_sentences(minilm, unique).clone())

    def of(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (len(texts), 384) of sentences that are in the bank."""
        return self.rows[torch.tensor([self.index[text] for text in texts])]
