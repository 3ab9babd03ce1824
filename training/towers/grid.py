"""CLIP's image towers cell by cell: features, the image's own embedding, and the value path of every cell.

Both pool with attention, so an image embedding is made of what each cell's value says. That path alone,
without the attention, gives every cell an embedding in the text space (MaskCLIP; SPECIAL and ReCLIP use it).
Unlike open_clip's own forward these functions take images of any size that the stride divides: the position
embedding is resampled as open_clip does when it loads one. At the native size they equal open_clip's.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

Grid = tuple[int, int]


class ImageGrid(Protocol):
    """One kind of image tower, taken apart. x: normalised float image (N, 3, H, W)."""

    def features(self, x: Tensor) -> Tensor:
        """The last features from which both the image's and the cells' embeddings follow."""
        ...

    def pool(self, features: Tensor, grid: Grid) -> Tensor:
        """The image's embedding (N, D), of any length."""
        ...

    def cells(self, features: Tensor, grid: Grid) -> Tensor:
        """Every cell's embedding (N, h * w, D), of any length."""
        ...


class VitGrid:
    """open_clip's VisionTransformer with a class token; features are the last block's input tokens."""

    def __init__(self, visual: Any) -> None:
        self._visual = visual

    def features(self, x: Tensor) -> Tensor:
        visual = self._visual
        x = visual.conv1(x)
        grid = (x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2)
        token = visual.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        position = resized_position(visual.positional_embedding, grid)
        x = visual.ln_pre(torch.cat((token, x), dim=1) + position.to(x.dtype))
        for block in visual.transformer.resblocks[:-1]:
            x = block(x)
        return x

    def pool(self, features: Tensor, grid: Grid) -> Tensor:
        x = self._visual.transformer.resblocks[-1](features)[:, 0]
        return cast(Tensor, self._visual.ln_post(x) @ self._visual.proj)

    def cells(self, features: Tensor, grid: Grid) -> Tensor:
        """The last block's value and output projections, without residual and MLP; then ln_post and proj."""
        block = self._visual.transformer.resblocks[-1]
        attention, width = block.attn, features.shape[2]
        value_weight = attention.in_proj_weight[2 * width :]
        value = F.linear(block.ln_1(features[:, 1:]), value_weight, attention.in_proj_bias[2 * width :])
        return cast(Tensor, self._visual.ln_post(attention.out_proj(value)) @ self._visual.proj)


class ResNetGrid:
    """open_clip's ModifiedResNet; features are the last layer's map (N, C, h, w)."""

    def __init__(self, visual: Any) -> None:
        self._visual = visual

    def features(self, x: Tensor) -> Tensor:
        visual = self._visual
        return cast(Tensor, visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(x))))))

    def pool(self, features: Tensor, grid: Grid) -> Tensor:
        pool = self._visual.attnpool
        position = resized_position(pool.positional_embedding, grid)
        return cast(Tensor, functional_call(pool, {"positional_embedding": position}, (features,)))

    def cells(self, features: Tensor, grid: Grid) -> Tensor:
        """The pool's value and output projections, without the position embedding, as MaskCLIP does."""
        pool = self._visual.attnpool
        return cast(Tensor, pool.c_proj(pool.v_proj(features.flatten(2).transpose(1, 2))))


def resized_position(embedding: Tensor, grid: Grid) -> Tensor:
    """Position embedding (1 + side ** 2, C) for another grid: (1 + h * w, C), the first row kept."""
    side = round((len(embedding) - 1) ** 0.5)
    if grid == (side, side):
        return embedding
    cells = embedding[1:].T.reshape(1, -1, side, side)
    cells = F.interpolate(cells, size=grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat((embedding[:1], cells.flatten(2)[0].T.to(embedding.dtype)))
