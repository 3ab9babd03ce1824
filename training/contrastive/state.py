"""What a run consists of between two steps, and how the towers are made ready for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from training.contrastive.recipe import ContrastSchedule
from training.resumable import ResumableRun
from training.towers.base import Towers

LARGEST_SCALE = math.log(100.0)  # CLIP's bound on the logarithm of its scale


@dataclass
class ContrastRun(ResumableRun):
    """A run in progress: everything that a resume must restore.

    losses: of the steps since the last validation; seconds: spent on steps, over all resumes; history: one
    entry a validation.
    """

    towers: Towers
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    best: float = -math.inf
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


def make_optimizer(towers: nn.Module, schedule: ContrastSchedule) -> torch.optim.AdamW:
    """AdamW over what is trainable, decay of matrices only."""
    trained = [parameter for parameter in towers.parameters() if parameter.requires_grad]
    decay = {True: schedule.weight_decay, False: 0.0}
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if (p.ndim > 1) is matrix], "weight_decay": decay[matrix]}
            for matrix in (True, False)
        ],
        lr=schedule.learning_rate,
        betas=schedule.betas,
        eps=schedule.epsilon,
    )


def training_mode(towers: nn.Module, schedule: ContrastSchedule) -> None:
    """Training mode, but for frozen statistics of batch norm and for parts that do not learn."""
    towers.train()
    for module in towers.modules():
        frozen = {not parameter.requires_grad for parameter in module.parameters()} == {True}
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if frozen or (norm and schedule.freeze_batch_norm):
            module.eval()


def freeze_unused(towers: Towers) -> None:
    """Leave alone what neither embedding depends on, such as a detector's heads; DDP would wait for it."""
    towers.eval()
    device = towers.logit_scale.device
    blank = torch.zeros(1, towers.image_size, towers.image_size, 3, dtype=torch.uint8, device=device)
    image, text = towers(blank, towers.tokenize(["a"]).to(device))
    trained = [parameter for parameter in towers.parameters() if parameter.requires_grad]
    reached = torch.autograd.grad(image.sum() + text.sum() + towers.logit_scale, trained, allow_unused=True)
    for parameter, gradient in zip(trained, reached, strict=True):
        parameter.requires_grad_(gradient is not None)
