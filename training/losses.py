"""Losses of remoteclip-lite's pre-training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ALPHA = 2.0
BETA = 4.0


def map_focal(logits: Tensor, heat: Tensor, weight: Tensor) -> Tensor:
    """Penalty-reduced focal loss on per-prompt maps (CornerNet, as in CenterNet), a mean over objects.

    logits, heat, weight: (N, P, h, w); heat is 1 exactly at object centres; weight 0 silences what is not
    annotated.
    """
    positive = (heat == 1).to(logits.dtype)
    probability = logits.sigmoid()
    hit = -F.logsigmoid(logits) * (1 - probability) ** ALPHA * positive
    miss = -F.logsigmoid(-logits) * probability**ALPHA * (1 - heat) ** BETA * (1 - positive)
    return ((hit + miss) * weight).sum() / (positive * weight).sum().clamp(min=1.0)


def area_entropy(logits: Tensor, share: Tensor) -> Tensor:
    """Binary cross-entropy of per-prompt maps against the share of a cell that is covered; same shapes.

    A share below 0 is unknown and counts for nothing.
    """
    known = (share >= 0).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, share.clamp(min=0.0), weight=known, reduction="sum")
    return loss / known.sum().clamp(min=1.0)


def box_error(predicted: Tensor, target: Tensor, sized: Tensor) -> Tensor:
    """L1 of centre offsets (K, 0:2) and, where a size is known (sized (K,) of 1), of log sizes (K, 2:4)."""
    error = (predicted - target).abs()
    offset = error[:, :2].sum() / max(len(error), 1)
    size = (error[:, 2:] * sized[:, None]).sum() / sized.sum().clamp(min=1.0)
    return offset + size


def contrast(image: Tensor, text: Tensor, same: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE with several positives a row.

    image (N, D) and text (T, D) unit, T >= N with the first N texts belonging to the images in order; same
    (N, T) bool marks every pair that is true, such as two images with one caption or one label. Texts beyond
    the first N are negatives of the image-to-text direction only.
    """
    logits = scale * image @ text.T
    return (
        _multi_positive(logits, same) + _multi_positive(logits[:, : len(image)].T, same[:, : len(image)].T)
    ) / 2


def _multi_positive(logits: Tensor, same: Tensor) -> Tensor:
    target = same.to(logits.dtype)
    target = target / target.sum(1, keepdim=True)
    return -(target * torch.log_softmax(logits, dim=1)).sum(1).mean()
