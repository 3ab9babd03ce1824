"""Similarities of every cell of an image to sentences, whichever family the model belongs to."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from training.checkpoint import AnyCheckpoint, ClipCheckpoint
from training.models.lite import LiteImageTower
from training.models.trunk import STRIDES
from training.towers.clip import ClipTowers

_LITE_WINDOW = 256  # whole cells next to the 224 px that its scenes were trained at


class DenseTower(Protocol):
    """What dense labels need of an image tower.

    Attributes:
        stride: pixels a cell.
        window: side in pixels of the square image that the tower is at home with, a multiple of stride.
        logit_scale: what cosines are multiplied with for a softmax over sentences.
    """

    stride: int
    window: int
    logit_scale: float

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) of 0 to 255, whole cells -> unit cells (N, D, h, w), unit image embeddings (N, D)."""
        ...


class LiteScenePath:
    """remoteclip-lite's image embedding before it is averaged: a cell is what one position adds to it.

    The embedding is a linear map of pooled features, so that this is what the value path is to CLIP. The
    stride-8 cells are not used: each prompt of theirs was trained against background alone, so that their
    logits do not say which of two land covers is the likelier (docs/decisions/022).
    """

    stride = STRIDES[-1]
    window = _LITE_WINDOW

    def __init__(self, tower: LiteImageTower) -> None:
        self._tower = tower
        self.logit_scale = tower.scene_scale.exp().item() / 2

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tower = self._tower
        features = tower.trunk.head(tower.trunk(tower.normalise(image))[-1])
        scene = tower.scene(features.permute(0, 2, 3, 1))
        cells = F.normalize(scene.float(), dim=3).permute(0, 3, 1, 2)
        return cells, F.normalize(scene.mean(dim=(1, 2)).float(), dim=1)


class ClipValuePath:
    """CLIP's value path (training.towers.grid)."""

    def __init__(self, towers: ClipTowers) -> None:
        self._towers = towers
        self.stride = towers.stride
        self.window = towers.image_size
        self.logit_scale = towers.logit_scale.exp().item() / 2

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        dense = self._towers.places(image)
        return dense.cell, dense.embedding


def dense_tower(checkpoint: AnyCheckpoint) -> DenseTower:
    """The dense tower of a checkpoint, its logit scale half the learned one: 50 for CLIP, as in the paper."""
    if isinstance(checkpoint, ClipCheckpoint):
        return ClipValuePath(checkpoint.towers)
    return LiteScenePath(checkpoint.image)
