"""Losses between a student and its teacher; what CLIP-KD (CVPR 2024) found best, and the maps'."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def feature_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of unit embeddings (N, D), over all numbers."""
    return F.mse_loss(student, teacher)


def affinity_divergence(student: Tensor, teacher: Tensor, captioned: int) -> Tensor:
    """KL divergence at T = 1 of image-text logits (M, T) from the teacher's, the mean of both directions.

    Every image over all texts, and each of the first `captioned` texts, those that belong to images of the
    batch, over all images.
    """
    to_text = _divergence(student, teacher)
    to_image = _divergence(student[:, :captioned].T, teacher[:, :captioned].T)
    return (to_text + to_image) / 2


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    wanted, found = torch.log_softmax(teacher, 1), torch.log_softmax(student, 1)
    return F.kl_div(found, wanted, reduction="batchmean", log_target=True)


def map_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Focal distance of lookup maps, both logits (N, P, h, w): 0 where they agree.

    Cross-entropy against the teacher's probability, weighed by the square of the difference (quality focal
    loss, Li et al. 2020), so that the many empty cells do not drown the few places; over the teacher's mass.
    """
    wanted = teacher.sigmoid()
    apart = (student.sigmoid() - wanted).square()
    cross = F.binary_cross_entropy_with_logits(student, wanted, reduction="none")
    return (apart * cross).sum() / wanted.square().sum().clamp(min=1.0)


def box_distance(student: Tensor, teacher: Tensor, seen: Tensor) -> Tensor:
    """Mean L1 of box heads (N, 4, h, w), weighed by the square of what the teacher sees there (N, h, w)."""
    weight = seen.square()
    error = (student - teacher).abs().mean(dim=1)
    return (weight * error).sum() / weight.sum().clamp(min=1.0)


def on_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Maps (N, C, H, W) averaged onto a coarser grid, as a teacher of larger stride sees them."""
    return maps if maps.shape[2:] == grid else F.adaptive_avg_pool2d(maps, grid)
