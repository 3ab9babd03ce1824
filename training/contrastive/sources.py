"""What a run trains on and is validated on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.files import sha256_of_file
from firmware_cfg.errors import UsageError
from training.contrastive.batches import Samples
from training.contrastive.recipe import ContrastRecipe
from training.contrastive.validation import Retrieval, of_caption_set, of_samples
from training.data.manifest import FILE, Manifest, read_manifest
from training.data.reader import ShardSamples


@dataclass(frozen=True, slots=True)
class PairSources:
    """Captioned training samples, validation data, and the manifest that `data build` wrote beside them."""

    train: Samples
    validation: Retrieval
    manifest: Manifest
    sha256: str
    """Of the manifest, which holds the hash of every shard."""

    def some_captions(self, images: int = 500) -> list[str]:
        """The sentences of the first training images (samples lie in random order)."""
        return [text for i in range(min(images, len(self.train))) for text in self.train.captions(i)]


def open_sources(recipe: ContrastRecipe, root: Path | None) -> PairSources:
    """Open the recipe's shards, and its validation set, if it names one, below the data root.

    Raises UsageError where the recipe names no shards, DataError where something of them is missing.
    """
    if recipe.shards is None:
        raise UsageError("the recipe names no shards (name the folder of `data build` with --shards)")
    folder = Path(recipe.shards)
    manifest = read_manifest(folder)
    if recipe.validation is None:
        validation = of_samples(ShardSamples(folder, "val"))
    elif root is None:
        raise UsageError(f"validation on {recipe.validation.name} needs the data root (name it with --data)")
    else:
        validation = of_caption_set(root, recipe.validation)
    return PairSources(ShardSamples(folder), validation, manifest, sha256_of_file(folder / FILE))
