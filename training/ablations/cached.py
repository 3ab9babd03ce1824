"""Re-fitting the scene head, alone or with the text side, on cached features: minutes instead of hours.

Training in small batches sees a few hundred sentences a step as negatives. With features at hand every step
can weigh many hundred images against all sentences of all of them, which is what contrast profits from.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.text import project
from training.progress import track

Words = Callable[[Tensor], Tensor]
"""Numbers of sentences (R,) -> their unit embeddings (R, 384)."""


@dataclass(frozen=True, slots=True)
class Captioned:
    """Images as cached features, and which sentences belong to each.

    features: (V, N, F) float16, one of the V views of an image is drawn each step; sentences: the T different
    ones; share: (N, T) float32, how much of an image's target each sentence is; rows sum to 1.
    """

    features: NDArray[np.float16]
    sentences: tuple[str, ...]
    share: Tensor


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How a head is fitted.

    batch: images a step; all_sentences: weigh them against every sentence of each, else against one of each;
    rates are AdamW's, cosine after a linear warm-up of a twentieth; dropout: share of the features dropped;
    scale: factor of the cosines; softness: share of a target that goes to sentences by their likeness to the
    image's own ones, at temperature `likeness`; average: decay of the averaged weights that are returned.
    """

    steps: int = 200
    batch: int = 512
    all_sentences: bool = True
    learning_rate: float = 1e-3
    projection_rate: float = 3e-4
    layer_rate: float = 2e-5
    weight_decay: float = 0.1
    dropout: float = 0.2
    scale: float = 20.0
    softness: float = 0.0
    likeness: float = 0.1
    average: float = 0.98
    seed: int = 0


def captioned(features: NDArray[np.float16], captions: Sequence[Sequence[str]]) -> Captioned:
    """Features (V, N, F) with each image's captions, which share its target evenly."""
    index = {text: i for i, text in enumerate(dict.fromkeys(text for own in captions for text in own))}
    share = torch.zeros(len(captions), len(index))
    for row, own in enumerate(captions):
        texts = set(own)
        for text in texts:
            share[row, index[text]] = 1 / len(texts)
    return Captioned(features, tuple(index), share)


def train_scene_head(
    head: nn.Linear,
    projection: nn.Linear,
    data: Captioned,
    words: Words,
    options: HeadOptions,
    tune: Sequence[str] = (),
) -> tuple[nn.Linear, nn.Linear]:
    """Fit a copy of the scene head (F -> D) to the text side: what an image shows to what is said of it.

    Both directions of InfoNCE with several positives, between a step's images and their sentences. `words`
    gives sentence embeddings by their number in `data`; it is trained too, in place, where `tune` holds
    "words" (it must be a module then), and a copy of the projection (384 -> D) where it holds "projection".
    Returns the averaged weights of head and projection; the arguments stay as they are.
    """
    generator = torch.Generator().manual_seed(options.seed)
    head, projection = copy.deepcopy(head).train(), copy.deepcopy(projection)
    averaged = copy.deepcopy(head), copy.deepcopy(projection)
    groups = [{"params": list(head.parameters()), "full": options.learning_rate}]
    if "projection" in tune:
        groups.append({"params": list(projection.parameters()), "full": options.projection_rate})
    if "words" in tune:
        assert isinstance(words, nn.Module), "only a module can be tuned"
        groups.append({"params": list(words.parameters()), "full": options.layer_rate})
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, weight_decay=options.weight_decay)
    target = data.share if not options.softness else _softened(data, words, options)
    fixed = None if tune else project(projection, words(torch.arange(len(data.sentences)))).detach()
    for step in track(range(options.steps), "scene head"):
        for group in optimizer.param_groups:
            group["lr"] = group["full"] * _rate(step, options.steps)
        chosen, own = _draw(data, options, generator)
        image = F.normalize(head(_drawn_features(data, chosen, options, generator)), dim=1)
        text = project(projection, words(own)) if fixed is None else fixed[own]
        true = target[chosen][:, own]
        logits = options.scale * image @ text.T
        loss = (_entropy(logits, true) + _entropy(logits.T, true.T)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        _follow(averaged, (head, projection), min(options.average, (step + 1) / (step + 10)))
    return averaged


def _rate(step: int, steps: int) -> float:
    return min((step + 1) / (0.05 * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))


def _draw(data: Captioned, options: HeadOptions, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers of a step's images, and of the sentences that they are weighed against."""
    chosen = torch.randperm(len(data.share), generator=generator)[: options.batch]
    share = data.share[chosen]
    if options.all_sentences:
        return chosen, share.any(0).nonzero()[:, 0]
    return chosen, torch.unique(torch.multinomial(share, 1, generator=generator))


def _drawn_features(
    data: Captioned, chosen: Tensor, options: HeadOptions, generator: torch.Generator
) -> Tensor:
    view = torch.randint(len(data.features), (len(chosen),), generator=generator)
    x = torch.from_numpy(data.features[view.numpy(), chosen.numpy()]).float()
    if not options.dropout:
        return x
    return x * (torch.rand(x.shape, generator=generator) >= options.dropout) / (1 - options.dropout)


def _softened(data: Captioned, words: Words, options: HeadOptions) -> Tensor:
    rows = words(torch.arange(len(data.sentences)))
    centred = F.normalize(rows - rows.mean(0), dim=1)
    alike = torch.softmax(centred @ centred.T / options.likeness, dim=1)
    return (1 - options.softness) * data.share + options.softness * (data.share @ alike)


def _entropy(logits: Tensor, target: Tensor) -> Tensor:
    target = target / target.sum(1, keepdim=True)
    return -(target * torch.log_softmax(logits, dim=1)).sum(1).mean()


@torch.no_grad()
def _follow(averaged: Sequence[nn.Module], live: Sequence[nn.Module], decay: float) -> None:
    for average, module in zip(averaged, live, strict=True):
        for a, b in zip(average.parameters(), module.parameters(), strict=True):
            a.lerp_(b, 1 - decay)


@torch.inference_mode()
def embed(head: nn.Linear, features: NDArray[np.float16]) -> Tensor:
    """Unit embeddings (N, D) of images by their features (N, F)."""
    return F.normalize(head(torch.from_numpy(np.array(features, np.float32))), dim=1)
