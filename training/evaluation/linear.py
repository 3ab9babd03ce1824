"""Linear classifiers on frozen embeddings, many settings trained at once, the best chosen on validation.

RemoteCLIP's protocol (arXiv 2306.11029, section IV): SGD at rate 0.8 and decay 4e-5, cosine, 1,000 epochs,
batches of 10,000, and a random search. The authors searched on test accuracy; here validation decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edge.engines.base import F32
from training.progress import track

MOMENTUM = 0.9  # open in the paper
EPOCHS = 1000
BATCH = 10_000
CANDIDATES = 12
_RATES = (0.08, 8.0)  # where the search looks, uniform in the logarithm
_DECAYS = (1e-7, 1e-3)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to train: SGD's full learning rate and its weight decay."""

    learning_rate: float
    weight_decay: float


PAPER = Setting(0.8, 4e-5)


@dataclass(frozen=True, slots=True)
class Training:
    """How classifiers are trained: the settings tried, epochs, batch size, and the seed of batches."""

    settings: tuple[Setting, ...]
    epochs: int = EPOCHS
    batch: int = BATCH
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The classifier that did best on validation.

    Attributes:
        weights: (D + 1, C) float32, the last row the bias.
        setting: how it was trained.
        validation_top1: what it reached there.
    """

    weights: F32
    setting: Setting
    validation_top1: float


def search(candidates: int = CANDIDATES, seed: int = 0) -> tuple[Setting, ...]:
    """The paper's setting, and random ones around it up to `candidates` >= 1."""
    rng = np.random.default_rng(seed)

    def drawn(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(math.log(low), math.log(high))))

    return (PAPER, *(Setting(drawn(*_RATES), drawn(*_DECAYS)) for _ in range(candidates - 1)))


def choose(
    training: Training,
    train: tuple[F32, NDArray[np.int64]],
    validation: tuple[F32, NDArray[np.int64]],
    classes: int,
    description: str | None = None,
) -> Chosen:
    """Train every setting on (embeddings (N, D), labels (N,)) and keep the best; of equals the first."""
    weights = fit(training, *train, classes, description)
    right = [(classify(one, validation[0]) == validation[1]).mean() for one in weights]
    best = int(np.argmax(right))
    return Chosen(weights[best], training.settings[best], float(right[best]))


def fit(
    training: Training, features: F32, labels: NDArray[np.int64], classes: int, description: str | None = None
) -> F32:
    """Softmax regressions (K, D + 1, C), one a setting, from zero weights by SGD with momentum.

    features: (N, D); labels: (N,) below `classes`; description: of the progress bar, None for none.
    """
    inputs, wanted = _with_bias(features), torch.nn.functional.one_hot(torch.from_numpy(labels), classes)
    count, width, settings = len(features), inputs.shape[1], training.settings
    rates = torch.tensor([setting.learning_rate for setting in settings])[:, None, None]
    decays = torch.tensor([setting.weight_decay for setting in settings])[:, None, None]
    weights = torch.zeros(len(settings), width, classes)
    velocity = torch.zeros_like(weights)
    order = torch.Generator().manual_seed(training.seed)
    epochs = range(training.epochs)
    for epoch in track(epochs, description) if description else epochs:
        rate = rates * 0.5 * (1 + math.cos(math.pi * epoch / training.epochs))
        whole = count <= training.batch
        index = torch.arange(count) if whole else torch.randperm(count, generator=order)
        for part in torch.split(index, training.batch):
            x, y = (inputs, wanted) if whole else (inputs[part], wanted[part])
            # All settings in one product: (N, D + 1) by (D + 1, K * C).
            logits = (x @ weights.transpose(0, 1).reshape(width, -1)).view(len(x), len(settings), classes)
            error = (logits.softmax(dim=2) - y[:, None]) / len(x)
            gradient = (x.T @ error.view(len(x), -1)).view(width, len(settings), classes).transpose(0, 1)
            velocity.mul_(MOMENTUM).add_(gradient).add_(decays * weights)
            weights -= rate * velocity
    return np.asarray(weights.numpy(), np.float32)


def classify(weights: F32, features: F32) -> NDArray[np.int64]:
    """The most probable class of each of (N, D) embeddings under (D + 1, C) weights, (N,)."""
    return np.asarray((features @ weights[:-1] + weights[-1]).argmax(axis=1), np.int64)


def _with_bias(features: F32) -> torch.Tensor:
    return torch.from_numpy(np.pad(features, ((0, 0), (0, 1)), constant_values=1.0))
