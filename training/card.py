"""The model card that a run writes: data, licences, recipe and the figures it was chosen by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.models.trunk import VARIANTS
from training.recipe import Recipe


def model_card(recipe: Recipe, validation: Mapping[str, Any], trained: Mapping[str, int]) -> str:
    """Markdown card of a checkpoint.

    validation: the entry of the run's history that it was kept for, with `n` images by set; trained: number
    of training images by set.
    """
    rows = [
        f"| {s.name} | {trained[s.name]} | {', '.join([*s.objects, *s.areas])} | {s.licence} |"
        for s in recipe.object_sets
    ]
    rows += [
        f"| {s.name} | {trained[s.name]} | captions, {len(s.labels)} scene labels | {s.licence} |"
        for s in recipe.caption_sets
    ]
    n = validation["n"]
    errors = [f"| {name} | {n[name]} | {value:.3f} |" for name, value in validation["count_error"].items()]
    captioned = ", ".join(f"{n[s.name]} images of {s.name}" for s in recipe.caption_sets)
    recall = validation["recall"]
    retrieved = "not measured, no captioned images" if recall is None else f"{recall:.3f} ({captioned})"
    schedule = recipe.schedule
    table, error_table = "\n".join(rows), "\n".join(errors)
    boxed = f", {schedule.box_captions} images with sentences about their boxes" * bool(schedule.box_captions)
    start = ""
    if recipe.start_from is not None:
        start = f" The run went on from the checkpoint `{Path(recipe.start_from).name}`."
    return f"""\
# {recipe.model}

Open-vocabulary places, counts and scenes in aerial images: a sentence in, places and similarities out.

Licence of the weights: research and non-commercial use only, because sets with such terms are in the
training data. The code is Apache-2.0.

## Training data

| set | images | annotations used | licence |
|---|---|---|---|
{table}

Initial weights: {VARIANTS[recipe.model].timm_name} (ImageNet, Apache-2.0) and all-MiniLM-L6-v2 (Apache-2.0,
frozen).{start}
Images set aside for validation and near-duplicates of evaluated images were not trained on.

## Recipe

{schedule.steps} steps of {schedule.dense_batch} crops of {schedule.dense_crop} px with boxes, points or masks
and {schedule.caption_batch} captioned crops of {schedule.caption_crop} px{boxed};
AdamW, cosine, averaged weights (decay {schedule.ema}); seed {schedule.seed}; kept: step {validation["step"]}.

## Validation (what the checkpoint was chosen by)

Mean recall of caption retrieval: {retrieved}. Relative count error by set:

| set | images | mean of abs(count - truth) / (truth + 1) |
|---|---|---|
{error_table}
"""
