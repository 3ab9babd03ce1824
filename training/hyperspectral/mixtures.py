"""Gaussian mixtures that sort noisy labels, over confidence and over spectra (SPECIAL, papers.md 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Index: TypeAlias = NDArray[np.int64]

CONFIDENCE_COMPONENTS = 3
SPECTRAL_COMPONENTS = 5
SPECTRAL_WIDTH = 5
_FEWEST = 10
"""Pixels below which no mixture is fitted: a handful does not show its components."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Pixels of one class by the network's own confidence; both (N,) bool."""

    confident: Bools
    hard: Bools


def split_by_confidence(confidence: F32, seed: int) -> Split:
    """Pixels (N,) of the top component of a 3-component mixture, and of its bottom one.

    Fewer than ten pixels, or all of one confidence, are neither.
    """
    nobody = np.zeros(len(confidence), bool)
    if len(confidence) < _FEWEST or np.ptp(confidence) < 1e-6:
        return Split(nobody, nobody)
    values = confidence.astype(np.float64)[:, None]
    mixture = _fitted(values, CONFIDENCE_COMPONENTS, seed)
    component = mixture.predict(values)
    order = np.argsort(mixture.means_[:, 0])
    return Split(component == order[-1], component == order[0])


def spectral_features(spectra: F32, seed: int) -> F64:
    """Leading principal components (N, at most 5) of spectra (N, B), each of unit variance."""
    width = min(SPECTRAL_WIDTH, *spectra.shape)
    scores: F64 = PCA(width, whiten=True, svd_solver="randomized", random_state=seed).fit_transform(
        spectra.astype(np.float64)
    )
    return scores


def soft_labels(features: F64, confident: list[Index], wanted: Index, seed: int) -> F32:
    """Class probabilities (len(wanted), C) of pixels from mixtures of each class's confident spectra.

    features: (N, F) of all pixels; confident: per class, which of them are sure. Every class counts alike
    beforehand. A class with fewer than ten sure pixels gets no probability anywhere; without two classes
    that have them nothing is known, and all are equally likely.
    """
    densities = np.full((len(wanted), len(confident)), -np.inf)
    if not len(wanted):
        return densities.astype(np.float32)
    for number, index in enumerate(confident):
        if len(index) >= _FEWEST:
            mixture = _fitted(features[index], SPECTRAL_COMPONENTS, seed)
            densities[:, number] = mixture.score_samples(features[wanted])
    if np.isfinite(densities).any(axis=0).sum() < 2:
        return np.full(densities.shape, 1 / len(confident), np.float32)
    odds = np.exp(densities - densities.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def _fitted(values: F64, components: int, seed: int) -> GaussianMixture:
    mixture = GaussianMixture(min(components, len(values) // 2), reg_covar=1e-4, random_state=seed)
    return mixture.fit(values)
