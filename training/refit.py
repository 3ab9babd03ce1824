"""The last step of remoteclip-lite's pre-training: the scene head again, in a contrast of hundreds of images.

The step-by-step training sees a few dozen images at once. With the trunk finished, its pooled features are
computed once, and a step can weigh many hundred images against all that is said of any of them.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from torch import Tensor

from training.ablations.cached import HeadOptions, captioned, train_scene_head
from training.ablations.features import PooledTrunk, views_of
from training.checkpoint import load_checkpoint, save_checkpoint
from training.prompts import SentenceBank, sentences
from training.readers import captions
from training.recipe import Recipe
from training.splits import belongs
from training.validation import Validation

_LABEL_SHARE = 0.15  # of an image's target, for the sentences of its scene label
_DONE = "scene_refit"  # in a checkpoint's metrics


def refit_scene_head(
    folder: Path, recipe: Recipe, root: Path, bank: SentenceBank, validation: Validation, console: Console
) -> None:
    """Re-fit the scene head of the checkpoint in `folder`; it is replaced where validation recall rises.

    The text projection stays, and with it the dense maps. Features are kept beside the folder, so that a
    stopped run goes on; a checkpoint that has been through this is left as it is.
    """
    checkpoint = load_checkpoint(folder)
    if _DONE in checkpoint.metrics:
        return
    samples, words = [], {}
    for spec in recipe.caption_sets:
        found = captions.read_karpathy(root / spec.name, "train")
        samples += [s for s in found if belongs(spec.name, s.path, "train")]
        words |= {label: sentences(phrases, recipe.templates) for label, phrases in spec.labels.items()}
    trunk = PooledTrunk(checkpoint.image, recipe.schedule.caption_crop)
    features = views_of(trunk, [s.path for s in samples], 1, 0, folder.parent / "scene_features.npy")
    data = captioned(features, [s.captions for s in samples], [s.label for s in samples], words, _LABEL_SHARE)
    rows = bank.of(list(data.sentences))

    def embeddings(numbers: Tensor) -> Tensor:
        return rows[numbers]

    options = HeadOptions(steps=recipe.schedule.scene_refit)
    image, projection = checkpoint.image, checkpoint.text.projection
    before = validation.recall(image, projection, bank)
    head, _ = train_scene_head(image.scene, projection, data, embeddings, options)
    image.scene.load_state_dict(head.state_dict())
    after = validation.recall(image, projection, bank)
    console.print(f"scene head re-fitted: validation mean recall {before:.3f} -> {after:.3f}")
    if after <= before:
        return
    stated = {"images": len(samples), "recall_before": before, "recall": after, **asdict(options)}
    metrics = {**checkpoint.metrics, _DONE: stated}
    card = f"""{checkpoint.card.rstrip()}

## Scene head

Re-fitted on the finished trunk's features of {len(samples)} images, {options.steps} steps of {options.batch}
images against all their sentences: validation mean recall {before:.3f} -> {after:.3f}.
"""
    save_checkpoint(folder, checkpoint.spec, image, checkpoint.text, metrics, card)
