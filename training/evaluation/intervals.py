"""Bootstrap intervals of means over images."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_RESAMPLES = 2000


def bootstrap_mean(values: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of the mean of per-image values (N,), N >= 1, by resampling images."""
    array = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(0, len(array), (_RESAMPLES, len(array)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
