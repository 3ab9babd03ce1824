"""Training on zero-shot labels, most of which are right, without any truth (SPECIAL, papers.md section 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.hyperspectral.mixtures import Index, soft_labels, spectral_features, split_by_confidence
from training.hyperspectral.network import SpectralSpatialNet
from training.hyperspectral.tiles import Box, crop_boxes, predict_scene, random_box
from training.hyperspectral.zeroshot import DenseLabels
from training.resumable import ResumableRun

F32: TypeAlias = NDArray[np.float32]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NoisyTraining:
    """The paper's settings where it gives them.

    epochs, iterations   steps are their product; the last epoch's network is the result, none is chosen
    warm_up              epochs on the random set alone
    per_class            pixels a class in the random set
    confident_share      of the confident component that is kept, the surest first
    hard_weight, confident_weight   of their losses beside the random set's 1
    noise                standard deviation, of bands of deviation 1
    """

    epochs: int = 20
    iterations: int = 20
    warm_up: int = 5
    per_class: int = 500
    confident_share: float = 0.2
    hard_weight: float = 0.1
    confident_weight: float = 1.0
    noise: float = 0.1
    hidden: int = 32
    learning_rate: float = 1e-3


@dataclass(slots=True)
class TrainingState(ResumableRun):
    """All that a resume restores; what is drawn depends on the seed and the epoch alone."""

    model: SpectralSpatialNet
    optimizer: torch.optim.Optimizer
    epoch: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Subsets:
    """Pixels (flat indices) that an epoch trains on, and what they are taken for."""

    random: Index
    random_label: Index
    confident: Index
    confident_label: Index
    hard: Index
    hard_soft: F32


def standardised(values: F32, valid: Bools | None) -> F32:
    """A cube's bands (H, W, B), each of mean 0 and deviation 1 over valid pixels; constant bands are 0."""
    known = values.reshape(-1, values.shape[2]) if valid is None else values[valid]
    mean, deviation = known.mean(axis=0, dtype=np.float64), known.std(axis=0, dtype=np.float64)
    scaled = (values - mean) / np.where(deviation > 0, deviation, np.inf)
    if valid is not None:
        scaled[~valid] = 0.0
    return np.asarray(scaled, np.float32)


class NoisyTrainer:
    """One seed's training on a standardised cube (H, W, B) and first labels; `run` yields finished epochs."""

    def __init__(
        self, cube: F32, first: DenseLabels, valid: Bools | None, settings: NoisyTraining, seed: int
    ) -> None:
        self._settings, self._seed = settings, seed
        self._cube = torch.from_numpy(np.ascontiguousarray(cube.transpose(2, 0, 1)))
        self._shape = cube.shape[:2]
        self._classes = len(first.probability)
        usable = np.ones(self._shape, bool) if valid is None else valid
        self._usable = np.flatnonzero(usable)
        self._first_label, self._first_confidence = first.label.ravel(), first.confidence.ravel()
        known = spectral_features(cube[usable], seed)
        self._features = np.zeros((usable.size, known.shape[1]))
        self._features[self._usable] = known
        torch.manual_seed(seed)
        model = SpectralSpatialNet(cube.shape[2], self._classes, settings.hidden)
        self._state = TrainingState(model, torch.optim.Adam(model.parameters(), settings.learning_rate))

    def restore(self, file: Path) -> None:
        """Go on where the saved run stopped. Raises CheckpointError."""
        self._state.restore(file)

    def save(self, file: Path) -> None:
        """Write what `restore` takes up."""
        self._state.save(file)

    def run(self) -> Iterator[int]:
        """Train; yields the number of epochs done after each."""
        settings, state = self._settings, self._state
        steps = settings.epochs * settings.iterations
        while state.epoch < settings.epochs:
            rng = np.random.default_rng((self._seed, state.epoch))
            torch.manual_seed(int(rng.integers(2**31)))
            subsets = self._subsets(rng)
            state.model.train()
            for iteration in range(settings.iterations):
                done = (state.epoch * settings.iterations + iteration) / steps
                for group in state.optimizer.param_groups:
                    group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
                self._step(subsets, rng)
            state.epoch += 1
            yield state.epoch

    def labels(self) -> DenseLabels:
        """What the network says now, the mean over the eight views."""
        return DenseLabels(self._probability(views=8))

    def _probability(self, views: int) -> F32:
        return predict_scene(self._state.model, self._cube, views)

    def _subsets(self, rng: np.random.Generator) -> Subsets:
        random = self._random_set(rng)
        nothing = np.zeros(0, np.int64)
        if self._state.epoch < self._settings.warm_up:
            soft = np.zeros((0, self._classes), np.float32)
            return Subsets(random, self._first_label[random], nothing, nothing, nothing, soft)
        own = DenseLabels(self._probability(views=1))
        label, confidence = own.label.ravel(), own.confidence.ravel()
        sure: list[Index] = []
        hard: list[Index] = []
        for number in range(self._classes):
            members = self._usable[label[self._usable] == number]
            split = split_by_confidence(confidence[members], self._seed)
            top = members[split.confident]
            kept = max(1, round(len(top) * self._settings.confident_share)) if len(top) else 0
            sure.append(top[np.argsort(-confidence[top], kind="stable")[:kept]])
            hard.append(members[split.hard])
        unsure, confident = np.concatenate(hard), np.concatenate(sure)
        soft = soft_labels(self._features, sure, unsure, self._seed)
        return Subsets(random, self._first_label[random], confident, label[confident], unsure, soft)

    def _random_set(self, rng: np.random.Generator) -> Index:
        """Up to `per_class` pixels of each zero-shot class, drawn by confidence."""
        chosen: list[Index] = []
        for number in range(self._classes):
            members = self._usable[self._first_label[self._usable] == number]
            weight = self._first_confidence[members].astype(np.float64) + 1e-9
            count = min(self._settings.per_class, len(members))
            if count:
                chosen.append(rng.choice(members, count, replace=False, p=weight / weight.sum()))
        return np.concatenate(chosen)

    def _step(self, subsets: Subsets, rng: np.random.Generator) -> None:
        model, optimizer, settings = self._state.model, self._state.optimizer, self._settings
        box = random_box(self._shape, rng)
        logits = self._logits(box, int(rng.integers(8)))
        where = np.full(self._shape[0] * self._shape[1], -1, np.int64)
        inside = np.arange(len(where)).reshape(self._shape)[crop_boxes(box)]
        where[inside.ravel()] = np.arange(inside.size)
        loss = logits.sum() * 0.0
        for index, target, weight in (
            (subsets.random, torch.from_numpy(subsets.random_label), 1.0),
            (subsets.confident, torch.from_numpy(subsets.confident_label), settings.confident_weight),
            (subsets.hard, torch.from_numpy(subsets.hard_soft), settings.hard_weight),
        ):
            here = where[index] >= 0
            if here.any():
                picked = logits[torch.from_numpy(where[index[here]])]
                loss = loss + weight * F.cross_entropy(picked, target[torch.from_numpy(here)])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def _logits(self, box: Box, view: int) -> Tensor:
        """Logits (h * w, C) of a part of the scene that the network saw turned, mirrored and noisy."""
        part = self._cube[(slice(None), *crop_boxes(box))][None]
        seen = torch.rot90(part.flip(3) if view >= 4 else part, view % 4, (2, 3))
        noisy = seen + self._settings.noise * torch.randn_like(seen)
        out: Tensor = self._state.model(noisy)
        back = torch.rot90(out, -(view % 4), (2, 3))
        back = back.flip(3) if view >= 4 else back
        return back[0].flatten(1).T
