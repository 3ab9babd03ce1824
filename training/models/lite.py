"""remoteclip-lite: a convolutional image tower whose every stride-8 cell lives in the text tower's space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.trunk import HEAD_CHANNELS, VARIANTS, LiteTrunk

STRIDE = 8
POSITION_WIDTH = 16
_LARGEST_LOG_SIZE = 5.0  # exp(5) cells of 8 px: no box is larger than 1,187 px, and no exponent overflows


@dataclass(frozen=True, slots=True)
class Dense:
    """What the image tower gives for every cell of the stride-8 grid, and for the whole image.

    cell: (N, D, h, w) unit embeddings; box: (N, 4, h, w) centre offset in cells and log size in cells;
    embedding: (N, D) unit embedding of the image.
    """

    cell: Tensor
    box: Tensor
    embedding: Tensor


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(),
    )


class LiteImageTower(nn.Module):
    """EfficientNet-Lite trunk, ReLU6 feature pyramid to stride 8, one embedding a cell and one an image.

    forward: uint8-valued RGB image (N, H, W, 3), H and W multiples of 32 -> Dense.
    """

    def __init__(
        self,
        width: int = 256,
        channels: int | None = None,
        pretrained: bool = True,
        model: str = "remoteclip-lite0",
    ) -> None:
        super().__init__()
        taps = VARIANTS[model].channels
        channels = channels or VARIANTS[model].pyramid
        self.trunk = LiteTrunk(model, pretrained)
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, channels, 1, bias=False), nn.BatchNorm2d(channels)) for c in taps
        )
        self.smooth = nn.ModuleList(_separable(channels) for _ in taps)
        self.neck = nn.Sequential(_separable(channels), _separable(channels))
        self.cell = nn.Conv2d(channels, width, 1)
        self.box = nn.Conv2d(channels, 4, 1)
        self.scene = nn.Linear(HEAD_CHANNELS, width)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.logit_bias = nn.Parameter(torch.tensor(-6.0))
        self.scene_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def normalise(self, image: Tensor) -> Tensor:
        # The cast comes before the transpose: TensorRT takes a uint8 input into a Cast only.
        return (image.float().permute(0, 3, 1, 2) - 127.0) / 128.0

    def _pyramid(self, taps: list[Tensor]) -> Tensor:
        top: Tensor | None = None
        for tap, lateral, smooth in zip(
            reversed(taps), reversed(self.lateral), reversed(self.smooth), strict=True
        ):
            x = lateral(tap)
            if top is not None:
                x = x + F.interpolate(top, scale_factor=2.0, mode="nearest")
            top = smooth(x)
        return cast(Tensor, self.neck(top))

    def dense(self, taps: list[Tensor]) -> tuple[Tensor, Tensor]:
        x = self._pyramid(taps)
        return F.normalize(self.cell(x).float(), dim=1), self.box(x).float()

    def embed(self, taps: list[Tensor]) -> Tensor:
        pooled = self.trunk.head(taps[-1]).mean(dim=(2, 3))
        return F.normalize(self.scene(pooled).float(), dim=1)

    def forward(self, image: Tensor) -> Dense:
        taps = self.trunk(self.normalise(image))
        cell, box = self.dense(taps)
        return Dense(cell, box, self.embed(taps))


def decode_boxes(box: Tensor) -> Tensor:
    """Box head (N, 4, h, w) -> corners x1, y1, x2, y2 in input pixels, (N, h * w, 4)."""
    n, _, h, w = box.shape
    x = torch.arange(w, device=box.device, dtype=box.dtype).view(1, 1, w).expand(n, h, w)
    y = torch.arange(h, device=box.device, dtype=box.dtype).view(1, h, 1).expand(n, h, w)
    centre_x = x + 0.5 + box[:, 0].clamp(-1.0, 1.0)
    centre_y = y + 0.5 + box[:, 1].clamp(-1.0, 1.0)
    half = box[:, 2:].clamp(-_LARGEST_LOG_SIZE, _LARGEST_LOG_SIZE).exp() / 2
    corners = (centre_x - half[:, 0], centre_y - half[:, 1], centre_x + half[:, 0], centre_y + half[:, 1])
    return torch.stack(corners, dim=-1).reshape(n, h * w, 4) * STRIDE


def position_features(h: int, w: int, like: Tensor) -> Tensor:
    """Fixed sinusoidal features of a cell's place in the frame: (16, h, w), each in -1..1.

    Four octaves of sine and cosine of x and y; prompts weigh them by their E columns, zero unless ReCLIP
    fills them.
    """
    x = (torch.arange(w, device=like.device, dtype=like.dtype) + 0.5) / w
    y = (torch.arange(h, device=like.device, dtype=like.dtype) + 0.5) / h
    rows: list[Tensor] = []
    for octave in range(POSITION_WIDTH // 4):
        angle = math.pi * 2.0**octave
        for wave in (torch.sin, torch.cos):
            rows.append(wave(x * angle).view(1, w).expand(h, w))
            rows.append(wave(y * angle).view(h, 1).expand(h, w))
    return torch.stack(rows)
