"""Golden vectors: drawn pictures and sentences, and the float32 outputs that every engine must reproduce."""

from __future__ import annotations

import cv2
import numpy as np

from edge.bundle.golden import Golden
from edge.engines.base import F32
from edge.prompts.bank import BACKGROUND_BIAS
from training.checkpoint import AnyCheckpoint
from training.models.lite import POSITION_WIDTH
from training.torch_engine import TorchImageEngine

TEXTS = (
    "a car seen from above",
    "a boat on the water",
    "a person in a thermal image",
    "a tree",
    "a tennis court",
    "storage tanks beside a harbour",
    "a satellite photo of dense residential area.",
    "bare ground",
)


def golden_vectors(checkpoint: AnyCheckpoint, text: F32, size: tuple[int, int]) -> Golden:
    """Two synthetic images through the float32 checkpoint.

    size: (width, height) of the tiles. text: (len(TEXTS), D) embeddings of TEXTS by the bundle's own text
    graph, whose loss is gated apart from this.
    """
    prompts = np.pad(text, ((0, 0), (0, POSITION_WIDTH)))
    bias = np.zeros(len(TEXTS), np.float32)
    if checkpoint.rectification is not None:
        bias, position = checkpoint.rectification.fill(text)
        prompts[:, text.shape[1] :] = position
    bias[-1] += BACKGROUND_BIAS
    image = np.stack([synthetic_scene(seed, size) for seed in (1, 2)])
    expected = TorchImageEngine(checkpoint, size).infer(image, prompts, bias)
    return Golden(image, prompts, bias, expected, TEXTS, text)


def synthetic_scene(seed: int, size: tuple[int, int]) -> np.ndarray:
    """A drawn aerial scene, (height, width, 3) uint8 RGB: fields, a road with cars, crowns, hulls on water.

    size: (width, height), each at least 96.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    image = np.full((height, width, 3), (112, 124, 84), np.uint8)
    cv2.rectangle(image, (0, 0), (width // 3, height), (38, 74, 98), -1)
    cv2.rectangle(image, (width // 2, 0), (width // 2 + 42, height), (92, 92, 96), -1)
    for _ in range(9):
        x, y = int(rng.integers(width // 2 + 4, width // 2 + 28)), int(rng.integers(height))
        cv2.rectangle(image, (x, y), (x + 9, y + 19), tuple(int(c) for c in rng.integers(40, 250, 3)), -1)
    for _ in range(14):
        centre = (int(rng.integers(width * 3 // 4, width)), int(rng.integers(height)))
        cv2.circle(image, centre, int(rng.integers(6, 13)), (44, 82, 40), -1)
    for _ in range(5):
        centre = (int(rng.integers(width // 3)), int(rng.integers(height)))
        cv2.ellipse(image, centre, (17, 6), int(rng.integers(180)), 0, 360, (226, 226, 230), -1)
    grain = rng.integers(-6, 7, image.shape)
    return np.clip(image.astype(np.int16) + grain, 0, 255).astype(np.uint8)
