"""A spectral-spatial network that trains on a CPU in about half a minute a scene."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer norm over the channels of every pixel: crops and whole scenes give the same numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.movedim(1, -1))
        return normed.movedim(-1, 1)


class _Mixing(nn.Module):
    """Residual: each channel with its neighbourhood, then the channels of a pixel with one another."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, padding_mode="replicate"),
            ChannelNorm(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.GELU(),
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.layers(x)
        return x + mixed


class SpectralSpatialNet(nn.Module):
    """Standardised cube (N, B, H, W) -> class logits (N, C, H, W).

    A spectral path sees a pixel's spectrum alone, a spatial path its neighbourhood of 7 x 7 as well; a gate
    a channel says how much of either counts. It replaces the paper's state-space network, which needs CUDA.
    """

    reach = 3
    """Pixels beyond its own that a pixel's logits depend on, in every direction."""

    def __init__(self, bands: int, classes: int, hidden: int = 32) -> None:
        super().__init__()
        self.spectral = nn.Sequential(
            nn.Conv2d(bands, hidden, 1), ChannelNorm(hidden), nn.GELU(), _Mixing(hidden, 1)
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(bands, hidden, 1),
            ChannelNorm(hidden),
            nn.GELU(),
            _Mixing(hidden, 3),
            _Mixing(hidden, 5),
        )
        self.gate = nn.Parameter(torch.zeros(hidden, 1, 1))
        self.head = nn.Sequential(ChannelNorm(hidden), nn.Dropout2d(0.1), nn.Conv2d(hidden, classes, 1))

    def forward(self, cube: Tensor) -> Tensor:
        gate = self.gate.sigmoid()
        logits: Tensor = self.head(gate * self.spectral(cube) + (1 - gate) * self.spatial(cube))
        return logits
