"""The graph that flies, around a CLIP image tower: its cells stand in for those of a light tower."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from training.models.lite import STRIDE, Dense, LiteImageTower
from training.models.lookup_graph import PLACES, LookupGraph
from training.towers.clip import ClipTowers

# Image-text cosines of CLIP lie around 0.2 to 0.3, not around 0. Logits are centred there: else every score
# would saturate, and scores that are all 1 cannot be told apart.
USUAL_COSINE = 0.25


class ClipLookup(nn.Module):
    """LookupGraph around CLIP towers; forward as there, boxes are cells.

    Image sides are multiples of the stride. There are never more places than cells.
    """

    def __init__(self, towers: ClipTowers, image_size: tuple[int, int]) -> None:
        super().__init__()
        width, height = image_size
        cells = (width // towers.stride) * (height // towers.stride)
        # The graph asks of its tower what _Cells has; it decodes boxes in the light tower's stride.
        self.lookup = LookupGraph(cast(LiteImageTower, _Cells(towers)), min(PLACES, cells))
        self.scale = towers.stride / STRIDE

    def forward(
        self, image: Tensor, prompts: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        scene, embedding, box, cell, logit = self.lookup(image, prompts, bias)
        return scene, embedding, box * self.scale, cell, logit


class _Cells(nn.Module):
    def __init__(self, towers: ClipTowers) -> None:
        super().__init__()
        self.towers = towers
        self.logit_bias = torch.tensor(dense_bias(towers))

    @property
    def logit_scale(self) -> Tensor:
        return self.towers.logit_scale

    def forward(self, image: Tensor) -> Dense:
        return self.towers.places(image)


def dense_bias(towers: ClipTowers) -> float:
    """What the lookup adds to every dense logit of these towers."""
    return -USUAL_COSINE * towers.logit_scale.exp().item()
