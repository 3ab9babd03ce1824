"""A checkpoint behind the drone's own engine protocols: one code path for checkpoints and bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edge.engines.base import F32, U8, EngineOutput, StartsByInferring
from edge.prompts.text_encoder import TextTooLong
from training.checkpoint import AnyCheckpoint, ClipCheckpoint
from training.models.lite import POSITION_WIDTH, STRIDE
from training.models.lookup_graph import LookupGraph
from training.models.text import MAX_TOKENS, TextTower, load_tokenizer
from training.towers.clip import ClipTowers
from training.towers.clip_text import ClipText
from training.towers.lookup import ClipLookup, dense_bias
from training.towers.tokenizer import clip_tokenizer

# The tiles that compile/ measures a lite model at; the first is the default.
LITE_IMAGE_SIZES = ((640, 384), (256, 256), (640, 512), (640, 640), (1280, 384))


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the lookup needs to know of a checkpoint. Satisfies edge.runtime.ModelFacts."""

    image_sizes: tuple[tuple[int, int], ...]
    stride: int
    embedding_width: int
    row_width: int
    logit_scale: float
    logit_bias: float


def model_facts(checkpoint: AnyCheckpoint) -> ModelFacts:
    """The facts of a checkpoint of either family."""
    if isinstance(checkpoint, ClipCheckpoint):
        towers = checkpoint.towers
        return ModelFacts(
            _clip_image_sizes(towers),
            towers.stride,
            towers.embedding_width,
            towers.embedding_width + POSITION_WIDTH,
            towers.logit_scale.exp().item(),
            dense_bias(towers),
        )
    width = checkpoint.spec.embedding_width
    return ModelFacts(
        LITE_IMAGE_SIZES,
        STRIDE,
        width,
        width + POSITION_WIDTH,
        checkpoint.image.logit_scale.exp().item(),
        checkpoint.image.logit_bias.item(),
    )


class TorchImageEngine(StartsByInferring):
    """The lookup graph in float32 torch. Satisfies edge.engines.ImageEngine."""

    name = "torch"
    precision = "fp32"

    def __init__(self, checkpoint: AnyCheckpoint, image_size: tuple[int, int]) -> None:
        """image_size: (width, height) of the tiles, multiples of 32, or of a CLIP tower's stride."""
        self.image_size = image_size
        graph: nn.Module = (
            ClipLookup(checkpoint.towers, image_size)
            if isinstance(checkpoint, ClipCheckpoint)
            else LookupGraph(checkpoint.image)
        )
        self._graph = graph.eval()

    @torch.inference_mode()
    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """image (N, H, W, 3) uint8, prompts (P, D + E), bias (P,) -> EngineOutput."""
        outputs = self._graph(*(torch.from_numpy(np.array(array)) for array in (image, prompts, bias)))
        return EngineOutput(*(output.numpy() for output in outputs))

    def close(self) -> None:
        """Nothing to free."""


class TorchTextEncoder:
    """The text tower in float32 torch. Satisfies edge.prompts.text_encoder.SentenceEncoder.

    Attributes:
        max_tokens: the longest sentence that it reads, special tokens included.
    """

    max_tokens: int

    def __init__(self, checkpoint: AnyCheckpoint) -> None:
        self._tower = text_tower(checkpoint)
        self._tokenizer: Any
        if isinstance(self._tower, ClipText):
            self._tokenizer = clip_tokenizer()
            self.max_tokens = self._tower.context_length
        else:
            self._tokenizer = load_tokenizer()
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            self.max_tokens = MAX_TOKENS

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> F32:
        """Unit embeddings (T, D) float32, each sentence alone. Raises TextTooLong, as the device does."""
        tokens = {text: self.token_ids(text) for text in texts}
        if too_long := [(text, len(ids)) for text, ids in tokens.items() if len(ids) > self.max_tokens]:
            raise TextTooLong(too_long, self.max_tokens)
        return np.stack([self._embedding(tokens[text]) for text in texts])

    def token_ids(self, text: str) -> list[int]:
        """The sentence as the tower reads it, special tokens included."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def _embedding(self, token_ids: list[int]) -> F32:
        ids = torch.tensor([token_ids])
        embedding: F32 = self._tower(ids, torch.ones_like(ids))[0].numpy()
        return embedding


def text_tower(checkpoint: AnyCheckpoint) -> TextTower | ClipText:
    """The text tower of a checkpoint, whatever it is: token ids and mask (B, L) -> unit embeddings (B, D)."""
    return ClipText(checkpoint.towers) if isinstance(checkpoint, ClipCheckpoint) else checkpoint.text


def _clip_image_sizes(towers: ClipTowers) -> tuple[tuple[int, int], ...]:
    """The native square, and a wide tile for frames, as near to 640 x 384 as the stride allows."""
    wide = tuple(max(1, round(side / towers.stride)) * towers.stride for side in (640, 384))
    return (towers.image_size, towers.image_size), (wide[0], wide[1])
