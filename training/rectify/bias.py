"""The bias map, and the loss that learns it: where a prompt wins only because the model favours it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.checkpoint import AnyCheckpoint
from training.models.lite import POSITION_WIDTH
from training.rectify.reference import TOKENS, ReferencePrompt


class BiasMap(nn.Module):
    """Of every prompt at every cell: <R, a + A position>, R the prompt's reference embedding.

    a (D,) is the class bias and A (D, E) the positional one, over the fixed features of a cell's place. Both
    begin at zero, so that an untrained map changes nothing.

    forward: token ids (P, L) -> class bias (P,), position columns (P, E), in logits.
    """

    def __init__(self, checkpoint: AnyCheckpoint, width: int, tokens: int = TOKENS) -> None:
        super().__init__()
        self.reference = ReferencePrompt(checkpoint, tokens)
        self.project = nn.Parameter(torch.zeros(width, 1 + POSITION_WIDTH))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        both = self.reference(ids) @ self.project
        return both[:, 0], both[:, 1:]


def rectified(logits: Tensor, position: Tensor, bias: Tensor, columns: Tensor) -> Tensor:
    """Logits (P, h, w) less the bias map: class bias (P,), columns (P, E) over position (E, h, w)."""
    return logits - bias.view(-1, 1, 1) - torch.einsum("pe,ehw->phw", columns, position)


def hard_masks(maps: Tensor, noise: torch.Generator | None, tau: float = 1.0) -> Tensor:
    """One prompt a cell, (P, h, w) of 0 and 1, with the softmax's gradient; Gumbel with noise."""
    if noise is not None:
        uniform = torch.rand(maps.shape, generator=noise).clamp(1e-9, 1 - 1e-7)
        maps = maps - torch.log(-torch.log(uniform))
    soft = (maps / tau).softmax(dim=0)
    hard = F.one_hot(soft.argmax(dim=0), len(maps)).permute(2, 0, 1).to(soft.dtype)
    return hard + soft - soft.detach()


def pooled(cell: Tensor, masks: Tensor) -> Tensor:
    """(P, D): the mean of the cells (D, h, w) under each mask (P, h, w), that is, over its own area."""
    area = masks.sum(dim=(1, 2)).clamp(min=1.0)
    return torch.einsum("dhw,phw->pd", cell, masks) / area.unsqueeze(1)


def contrast(pool: Tensor, text: Tensor, present: Tensor, scale: float) -> Tensor:
    """Mean cross-entropy over prompts of scale * <pooled, text>, of present (P,) bool ones."""
    logits = scale * F.normalize(pool, dim=1) @ text.T
    losses = F.cross_entropy(logits, torch.arange(len(text)), reduction="none")
    return losses[present].mean()
