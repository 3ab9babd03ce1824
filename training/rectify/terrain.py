"""What a folder's images say of a list's prompts before anything is learned."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from firmware_cfg.prompt_list import PromptList
from training.evaluation.dense_model import Cells


def inner(seen: Cells) -> Tensor:
    """Cells (D + E, h, w) float16 without those in the padding."""
    fit, stride = seen.fit, seen.stride
    left, top = -(-int(fit.pad_x) // stride), -(-int(fit.pad_y) // stride)
    right = max(left + 1, int(fit.pad_x + fit.content_width) // stride)
    bottom = max(top + 1, int(fit.pad_y + fit.content_height) // stride)
    return seen.cell[:, top:bottom, left:right].half()


def row_texts(prompts: PromptList) -> list[str]:
    """One text for every row of the list's bank, in the bank's order."""
    texts: list[str] = []
    for prompt in prompts.prompts:
        texts += prompt.text if prompt.match == "any" else prompt.text[:1]
    return [*texts, *prompts.background]


def favour(cells: list[Tensor], rows: Tensor, scale: float) -> Tensor:
    """(P,) logits that each prompt reaches on the best twentieth of all cells of the folder.

    How loud a prompt speaks on this terrain, whatever is there. A high quantile rather than the mean: a mean
    mostly says of how much ground the thing covers.
    """
    width = rows.shape[1]
    every = torch.cat([cell[:width].flatten(1)[:, ::11].float() for cell in cells], dim=1)
    return torch.from_numpy(np.quantile((scale * rows @ every).numpy(), 0.95, axis=1)).float()
