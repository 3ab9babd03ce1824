"""A checkpoint behind the drone's own engine protocols: one code path for checkpoints and bundles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from edge.engines.base import F32, U8, EngineOutput
from training.checkpoint import Checkpoint
from training.models.lookup_graph import LookupGraph
from training.models.text import load_tokenizer


class TorchImageEngine:
    """The lookup graph in float32 torch. Satisfies edge.engines.ImageEngine."""

    name = "torch"
    precision = "fp32"

    def __init__(self, checkpoint: Checkpoint, image_size: tuple[int, int]) -> None:
        self.image_size = image_size
        self._graph = LookupGraph(checkpoint.image).eval()

    @torch.inference_mode()
    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """image (N, H, W, 3) uint8, prompts (P, D + E), bias (P,) -> EngineOutput."""
        outputs = self._graph(*(torch.from_numpy(np.array(array)) for array in (image, prompts, bias)))
        return EngineOutput(*(output.numpy() for output in outputs))

    def close(self) -> None:
        """Nothing to free."""


class TorchTextEncoder:
    """The text tower in float32 torch. Satisfies edge.prompts.SentenceEncoder."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._tower = checkpoint.text
        self._tokenizer = load_tokenizer()
        self._tokenizer.no_padding()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> F32:
        """Unit embeddings (T, D) float32, each sentence alone, cut at 64 tokens."""
        rows = []
        for text in texts:
            ids = torch.tensor([self.token_ids(text)])
            rows.append(self._tower(ids, torch.ones_like(ids))[0].numpy())
        return np.stack(rows)

    def token_ids(self, text: str) -> list[int]:
        """The sentence as the tower reads it, special tokens included."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids
