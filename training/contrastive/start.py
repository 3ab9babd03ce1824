"""The towers that a recipe begins with, and how they are stored when they are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from firmware_cfg.errors import UsageError
from training.checkpoint import (
    SCHEMA,
    Checkpoint,
    ModelSpec,
    open_checkpoint,
    own_text,
    save_checkpoint,
    save_clip_checkpoint,
)
from training.contrastive.recipe import LITE, SCRATCH, ContrastRecipe
from training.data.manifest import Manifest
from training.errors import CheckpointError
from training.models.lite import LiteImageTower
from training.models.text import TextTower, encode_sentences
from training.models.trunk import VARIANTS
from training.towers.base import Towers
from training.towers.clip import ClipTowers, create_tower
from training.towers.lite import LiteTowers
from training.towers.spec import tower_config

SaveTowers = Callable[[Path, Mapping[str, Any], str], None]
"""Writes the towers as a checkpoint folder, with metrics and card."""


@dataclass(frozen=True, slots=True)
class Start:
    """Towers to train; `origin` tells the card where their weights come from."""

    towers: Towers
    origin: str
    save: SaveTowers


def starting_towers(recipe: ContrastRecipe, manifest: Manifest, sentences: Sequence[str]) -> Start:
    """The recipe's towers with the weights it starts from.

    `sentences` of the training data centre a light model that starts from nothing. Raises UsageError where
    the recipe leaves its start open, names an unknown model or contradicts its weights; CheckpointError where
    the weights cannot be read or are another model's.
    """
    if recipe.start_from is None:
        raise UsageError(
            f"name the weights that {recipe.model} starts from with --start-from FILE: an official OpenAI or"
            f" RemoteCLIP file, or a checkpoint folder ({SCRATCH} for none)"
        )
    licence = "; ".join(sorted({source.licence for source in manifest.sources}))
    start = None if recipe.start_from == SCRATCH else Path(recipe.start_from)
    if recipe.model.startswith(LITE):
        return _lite(recipe, start, licence, sentences)
    return _clip(recipe, start, licence)


def _clip(recipe: ContrastRecipe, start: Path | None, licence: str) -> Start:
    if start is not None and start.is_dir():
        checkpoint, name = open_checkpoint(start), tower_config(recipe.model)[0]
        if isinstance(checkpoint, Checkpoint) or checkpoint.spec.model != name:
            raise CheckpointError(f"{start}: a {checkpoint.spec.model}, the recipe trains {name}")
        towers: ClipTowers = checkpoint.towers
        if recipe.quick_gelu not in (None, towers.spec.quick_gelu):
            raise UsageError(f"{start}: has the other activation (leave quick_gelu out of the recipe)")
    else:
        towers = create_tower(recipe.model, start, recipe.quick_gelu)
    activation = "QuickGELU" if towers.spec.quick_gelu else "GELU"
    save = partial(_save_clip, towers, licence)
    return Start(towers, f"{towers.spec.origin}; {activation}", save)


def _save_clip(towers: ClipTowers, licence: str, folder: Path, metrics: Mapping[str, Any], card: str) -> None:
    save_clip_checkpoint(folder, towers, licence, metrics, card)


def _lite(recipe: ContrastRecipe, start: Path | None, licence: str, sentences: Sequence[str]) -> Start:
    if recipe.model not in VARIANTS:
        raise UsageError(f"unknown model {recipe.model} (known: {', '.join(VARIANTS)}, and CLIP's towers)")
    if recipe.quick_gelu is not None:
        raise UsageError(f"{recipe.model} has no GELU at all (leave quick_gelu out of the recipe)")
    if start is None:
        text = TextTower()
        text.centre(encode_sentences(text.minilm, sentences))
        image = LiteImageTower(text.projection.out_features, model=recipe.model)
        origin = "ImageNet (EfficientNet-Lite, Apache-2.0) and all-MiniLM-L6-v2 (Apache-2.0, frozen)"
    else:
        checkpoint = open_checkpoint(start)
        if not isinstance(checkpoint, Checkpoint) or checkpoint.spec.model != recipe.model:
            raise CheckpointError(f"{start}: a {checkpoint.spec.model}, the recipe trains {recipe.model}")
        image, text = checkpoint.image, own_text(start, checkpoint)
        origin = f"{start.name}, weights sha256:{checkpoint.sha256}"
    image.trunk.freeze()
    towers = LiteTowers(recipe.model, image, text)
    return Start(towers, origin, partial(_save_lite, towers, licence))


def _save_lite(towers: LiteTowers, licence: str, folder: Path, metrics: Mapping[str, Any], card: str) -> None:
    spec = ModelSpec(
        SCHEMA,
        towers.name,
        VARIANTS[towers.name].timm_name,
        "all-MiniLM-L6-v2",
        towers.embedding_width,
        towers.image.cell.in_channels,
        licence,
    )
    save_checkpoint(folder, spec, towers.image, towers.text, metrics, card)
