"""InfoNCE over the features of all processes, each of which computes only its own rows."""

from __future__ import annotations

import torch
from torch import Tensor

from training.processes import Processes


def info_nce(image: Tensor, text: Tensor, scale: Tensor, pair: Tensor, processes: Processes) -> Tensor:
    """Symmetric InfoNCE of this process's pairs against those of all; the mean over processes is the loss.

    image, text: (n, D) unit features of n pairs, float32; scale: () factor of the cosines; pair: (n,) int64,
    equal numbers for what counts as one and the same sentence. The target of a row is spread evenly over its
    equals, so that with n different numbers on every process this is CLIP's loss.
    """
    every_pair = processes.gather(pair)
    target = (pair[:, None] == every_pair[None, :]).to(image.dtype)
    target = target / target.sum(dim=1, keepdim=True)
    to_text = scale * image @ processes.gather(text).T
    to_image = scale * text @ processes.gather(image).T
    return (_cross_entropy(to_text, target) + _cross_entropy(to_image, target)) / 2


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
