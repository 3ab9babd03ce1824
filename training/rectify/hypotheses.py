"""Which prompts an image may show, without anybody's labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

PARTS = 4
LEAST_CROPS = 2


def crop_logits(cell: Tensor, text: Tensor, scale: float, parts: int = PARTS) -> Tensor:
    """Logits (crops, P) of an image's crops, each the mean of its cells (D, h, w); stride is half a crop."""
    size = tuple(max(1, side // parts) for side in cell.shape[1:])
    step = tuple(max(1, side // 2) for side in size)
    crops = F.normalize(F.avg_pool2d(cell[None], size, step)[0].flatten(1).T, dim=1)
    return scale * crops @ text.T


def hypotheses(logits: Tensor, least: int = LEAST_CROPS) -> Tensor:
    """(N, P) bool: the prompts that win at least so many of an image's crops.

    Args:
        logits: (N, crops, P) of all images. Every prompt's are standardised over the whole folder first: a
            prompt that the model favours would otherwise win everywhere, and one that it never favours could
            never be learned.
    """
    flat = logits.flatten(0, 1)
    standard = (logits - flat.mean(dim=0)) / flat.std(dim=0).clamp(min=1e-6)
    wins = F.one_hot(standard.argmax(dim=2), logits.shape[2]).sum(dim=1)
    return wins >= min(least, logits.shape[1])
