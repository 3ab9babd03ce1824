"""The learned bias map as one affine map of a prompt's text embedding, for any prompt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.prompts.rectification import Rectification

F64 = NDArray[np.float64]
RIDGE = 1e-3
_FOLDS = 5


def fit_affine(text: F64, target: F64, weight: F64, ridge: float = RIDGE) -> tuple[F64, F64]:
    """The ridge regression target ~ text @ slope + offset.

    Args:
        text: (n, D) unit embeddings; target: (n, C); weight: (n,) how much each row counts, above 0.
        ridge: times the sum of the weights, on the squared slope; the offset is free.

    Returns:
        slope (D, C), offset (C,).
    """
    share = weight / weight.sum()
    text_mean, target_mean = share @ text, share @ target
    x = (text - text_mean) * np.sqrt(share)[:, None]
    y = (target - target_mean) * np.sqrt(share)[:, None]
    # In the dual: there are fewer prompts than dimensions.
    slope = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), y)
    return slope, target_mean - text_mean @ slope


def left_out(text: F64, target: F64, weight: F64, first: int) -> F64:
    """What maps fitted without a row, `first` or a later one, say of it: (n - first, C); five folds.

    Arguments as in `fit_affine`.
    """
    told = np.zeros_like(target)
    for fold in range(_FOLDS):
        left = np.zeros(len(text), bool)
        left[first + fold :: _FOLDS] = True
        slope, offset = fit_affine(text[~left], target[~left], weight[~left])
        told[left] = text[left] @ slope + offset
    return told[first:]


def explained(target: F64, fitted: F64) -> float:
    """R squared over all columns together: 1 is everything; below 0 is worse than the mean."""
    rest = float(((target - fitted) ** 2).sum())
    total = float(((target - target.mean(axis=0)) ** 2).sum())
    return 1.0 - rest / total if total > 0 else float(rest == 0)


def as_rectification(slope: F64, offset: F64, logit_scale: float) -> Rectification:
    """What is added to logits: the bias map, sign turned; columns are multiplied by the scale later."""
    unit = np.full(len(offset), -1.0 / logit_scale)
    unit[0] = -1.0
    return Rectification((slope * unit).astype(np.float32), (offset * unit).astype(np.float32))
