"""Losses of remoteclip-lite's pre-training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from training.processes import Processes

ALPHA = 2.0
BETA = 4.0


class Sum(NamedTuple):
    """A loss as its sum and the number of things it is a mean over: several processes may share both."""

    total: Tensor
    over: Tensor

    def mean(self, processes: Processes) -> Tensor:
        """This process's part of the mean: averaged over processes it is the loss of the whole batch."""
        return self.total / processes.mean(self.over).clamp(min=1 / processes.count)


def map_focal(logits: Tensor, heat: Tensor, weight: Tensor) -> Sum:
    """Penalty-reduced focal loss on per-prompt maps (CornerNet, as in CenterNet), over objects.

    logits, heat, weight: (N, P, h, w); heat is 1 exactly at object centres; weight 0 silences what is not
    annotated.
    """
    positive = (heat == 1).to(logits.dtype)
    probability = logits.sigmoid()
    hit = -F.logsigmoid(logits) * (1 - probability) ** ALPHA * positive
    miss = -F.logsigmoid(-logits) * probability**ALPHA * (1 - heat) ** BETA * (1 - positive)
    return Sum(((hit + miss) * weight).sum(), (positive * weight).sum())


def area_entropy(logits: Tensor, share: Tensor) -> Sum:
    """Binary cross-entropy of per-prompt maps against the share of a cell that is covered; same shapes.

    A share below 0 is unknown and counts for nothing.
    """
    known = (share >= 0).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, share.clamp(min=0.0), weight=known, reduction="sum")
    return Sum(loss, known.sum())


def box_errors(predicted: Tensor, target: Tensor, sized: Tensor) -> tuple[Sum, Sum]:
    """L1 of centre offsets (K, 0:2), and of log sizes (K, 2:4) where one is known (sized (K,) of 1)."""
    error = (predicted - target).abs()
    offset = Sum(error[:, :2].sum(), error.new_tensor(float(len(error))))
    return offset, Sum((error[:, 2:] * sized[:, None]).sum(), sized.sum())


def contrast(
    image: Tensor, text: Tensor, same: Tensor, scale: Tensor, part: slice, processes: Processes
) -> Tensor:
    """Symmetric InfoNCE with several positives a row; its mean over processes is the loss.

    image (n, D): unit, of the batch's N images those of `part`; text (T, D) unit, T >= N with the first N
    texts belonging to the images in order; same (N, T) bool marks every pair that is true, such as two
    images with one caption or one label. Texts beyond the first N are negatives of the image-to-text
    direction only.
    """
    every = processes.gather(image)
    to_text = _multi_positive(scale * image @ text.T, same[part])
    to_image = _multi_positive(scale * text[part] @ every.T, same[:, part].T)
    return (to_text + to_image) / 2


def _multi_positive(logits: Tensor, same: Tensor) -> Tensor:
    target = same.to(logits.dtype)
    target = target / target.sum(1, keepdim=True)
    return -(target * torch.log_softmax(logits, dim=1)).sum(1).mean()
