"""Bootstrap intervals of figures that are made of one value an image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

_RESAMPLES = 2000
_AT_ONCE = 4_000_000  # numbers drawn at a time; bounds the memory, also of sets with many images

Statistic = Callable[[NDArray[np.intp]], NDArray[np.float64]]
"""Image indices (R, N) -> the figure of each of the R resamples, (R,)."""


def bootstrap(images: int, statistic: Statistic, seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of a figure over `images` >= 1 images, by resampling images.

    Resamples whose figure is NaN, because they hold nothing that it is about, are left out.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // images)
    figures = [
        statistic(rng.integers(0, images, (min(rows, _RESAMPLES - done), images)))
        for done in range(0, _RESAMPLES, rows)
    ]
    low, high = np.nanquantile(np.concatenate(figures), (0.025, 0.975))
    return float(low), float(high)


def bootstrap_mean(values: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of the mean of per-image values (N,), N >= 1, by resampling images."""
    array = np.asarray(values, np.float64)
    return bootstrap(len(array), lambda index: array[index].mean(axis=1), seed)


def bootstrap_ratio(numerators: ArrayLike, denominators: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of sum(numerators) / sum(denominators), both (N,) by image.

    Denominators are at least 0 and not all 0.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)

    def ratio(index: NDArray[np.intp]) -> NDArray[np.float64]:
        whole = below[index].sum(axis=1)
        return np.asarray(above[index].sum(axis=1) / np.where(whole > 0, whole, np.nan), np.float64)

    return bootstrap(len(above), ratio, seed)
