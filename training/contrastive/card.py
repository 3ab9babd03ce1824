"""The model card of contrastive pre-training: data and licences from the manifest, recipe, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.contrastive.recipe import ContrastRecipe
from training.contrastive.sources import PairSources
from training.data.manifest import Manifest

_RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mean_recall")


def contrast_card(
    recipe: ContrastRecipe, sources: PairSources, origin: str, metrics: Mapping[str, Any]
) -> str:
    """Markdown card of a checkpoint; `origin` of its first weights, `metrics` of metrics.json."""
    found, training = metrics["validation"], metrics["training"]
    hours, machine = training["seconds"] / 3600, f"{training['processes']} x {training['device']}"
    header = " | ".join(_RECALLS)
    figures = " | ".join(f"{found[name]:.4f}" for name in _RECALLS)
    return f"""\
# {recipe.model}, pre-trained on captioned aerial images

A sentence and an image in, their similarity out: RemoteCLIP's continual pre-training (arXiv 2306.11029).

Licence of the weights: that of the weights they started from, and the terms of every set below. The code is
Apache-2.0.

## Training data

| set | how its captions came about | images | captions | licence | source |
|---|---|---|---|---|---|
{_table(sources.manifest)}

Shards: SHA-256 of the manifest `{sources.sha256}`, of the data recipe `{sources.manifest.recipe_sha256}`.
Near-duplicates of evaluated images were left out when the shards were built (see their report).

Initial weights: {origin}.

## Recipe

{_schedule(recipe)}

Kept: step {found["step"]} of {training["steps"]}, the best on validation.
Until then {training["pairs_seen"]:,} pairs were seen in {hours:.2f} hours on {machine}.

## Validation (what the checkpoint was chosen by)

Caption retrieval on {sources.validation.name}, n = {found["images"]} images and {found["captions"]}
captions, fractions:

| {header} |
|{"---|" * len(_RECALLS)}
| {figures} |
"""


def _table(manifest: Manifest) -> str:
    return "\n".join(
        f"| {s.name} | {s.captions_by} | {s.train} | {s.captions} | {s.licence} | {s.source} |"
        for s in manifest.sources
    )


def _schedule(recipe: ContrastRecipe) -> str:
    s, a = recipe.schedule, recipe.augmentation
    ways = [
        f"random crops of {a.crop[0]:.0%} to {a.crop[1]:.0%} of the area",
        *(["horizontal flip"] if a.flip else []),
        *(["turns by 0, 90, 180 or 270 degrees"] if a.quarter_turns else []),
    ]
    return f"""\
InfoNCE over batches of {s.batch} pairs, {s.accumulate} a step; equal sentences are {s.shared_captions}s;
{", ".join(ways)};
AdamW, learning rate {s.learning_rate:g}, {s.warmup} steps of linear warm-up, cosine to zero at {s.steps};
weight decay {s.weight_decay:g}, betas {s.betas[0]:g} and {s.betas[1]:g}, epsilon {s.epsilon:g};
{s.precision} arithmetic; batch norm {"frozen" if s.freeze_batch_norm else "trained"}; seed {s.seed}."""
