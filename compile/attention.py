"""Attention as two plain products around a softmax, the scale before the first product.

Exporters and builders know many forms of it. This one every engine fuses, int8 quantizers find its products,
and in half precision the scores cannot overflow before they are scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import training.torchvision_ops  # noqa: F401  (must run before open_clip imports torchvision)


class PlainAttention(nn.Module):
    """Self-attention with the weights of an `nn.MultiheadAttention`, which it shares.

    forward: as there, of the same query, key and value -> (output, None).
    """

    def __init__(self, source: nn.MultiheadAttention) -> None:
        super().__init__()
        self.in_proj_weight, self.in_proj_bias = source.in_proj_weight, source.in_proj_bias
        self.out_proj = source.out_proj
        self.heads = source.num_heads
        self.batch_first = source.batch_first

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        x = query if self.batch_first else query.transpose(0, 1)
        n, length, width = x.shape
        product = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        parts = product.reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = attend(parts[0], parts[1], parts[2], attn_mask).transpose(1, 2).reshape(n, length, width)
        out = self.out_proj(mixed)
        return out if self.batch_first else out.transpose(0, 1), None


class PlainAttentionPool(nn.Module):
    """The pool of CLIP's ResNet with the weights of open_clip's `AttentionPool2d`, which it shares.

    forward: features (N, C, h, w) -> embedding (N, D). Only the mean's query is asked: open_clip computes the
    others and throws them away.
    """

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.positional_embedding = source.positional_embedding
        self.q_proj, self.k_proj, self.v_proj = source.q_proj, source.k_proj, source.v_proj
        self.c_proj = source.c_proj
        self.heads = source.num_heads

    def forward(self, features: Tensor) -> Tensor:
        x = features.flatten(2).transpose(1, 2)
        x = torch.cat((x.mean(dim=1, keepdim=True), x), dim=1) + self.positional_embedding.to(x.dtype)
        query, key, value = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        mixed = attend(self._split(query), self._split(key), self._split(value))
        return cast(Tensor, self.c_proj(mixed.transpose(1, 2).flatten(1)))

    def _split(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        return x.reshape(n, length, self.heads, width // self.heads).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(query * scale @ key^T + mask) @ value of (N, heads, length, width) tensors."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    weights: Tensor = (scores if mask is None else scores + mask).softmax(dim=-1)
    return weights @ value


@contextmanager
def plain_attention(module: nn.Module) -> Iterator[None]:
    """Put the plain forms in the place of all of a module's attention layers, for the time of an export."""
    from open_clip.modified_resnet import AttentionPool2d  # type: ignore[import-untyped]

    swapped: list[tuple[nn.Module, str, nn.Module]] = []
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MultiheadAttention | AttentionPool2d):
                swapped.append((parent, name, child))
    try:
        for parent, name, child in swapped:
            if isinstance(child, nn.MultiheadAttention):
                setattr(parent, name, PlainAttention(child))
            else:
                setattr(parent, name, PlainAttentionPool(child))
        yield
    finally:
        for parent, name, child in swapped:
            setattr(parent, name, child)


def scale_queries(model: onnx.ModelProto) -> onnx.ModelProto:
    """Move a constant factor between a product and its softmax to before the product.

    As transformers writes attention, the scores are scaled after they were computed. Changes and returns the
    model.
    """
    nodes = list(model.graph.node)
    made = {name: node for node in nodes for name in node.output}
    scalars = {t.name for t in model.graph.initializer if int(np.prod(t.dims)) == 1}
    for softmax in [node for node in nodes if node.op_type == "Softmax"]:
        before = made.get(softmax.input[0])
        # The mask is added between the scale and the softmax.
        masked = before is not None and before.op_type == "Add"
        found = [made.get(name) for name in (before.input if before and masked else softmax.input)]
        for scale in found:
            if scale is None or scale.op_type not in ("Mul", "Div") or scale.input[1] not in scalars:
                continue
            product = made.get(scale.input[0])
            readers = sum(scale.input[0] in node.input for node in nodes)
            if product is None or product.op_type != "MatMul" or readers != 1:
                continue
            query, scores = product.input[0], scale.output[0]
            scale.input[0], scale.output[0] = query, f"{scores}_query"
            product.input[0], product.output[0] = f"{scores}_query", scores
            nodes.remove(scale)
            nodes.insert(nodes.index(product), scale)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
