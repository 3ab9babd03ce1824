"""The model card that a run writes: data, licences, recipe and the figures it was chosen by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.recipe import Recipe


def model_card(recipe: Recipe, validation: Mapping[str, Any]) -> str:
    """Markdown card of a checkpoint. `validation` is the entry of the run's history that it was kept for."""
    rows = [f"| {s.name} | {', '.join([*s.objects, *s.areas])} | {s.licence} |" for s in recipe.object_sets]
    rows += [
        f"| {s.name} | captions, {len(s.labels)} scene labels | {s.licence} |" for s in recipe.caption_sets
    ]
    errors = [f"| {name} | {value:.3f} |" for name, value in validation["count_error"].items()]
    schedule = recipe.schedule
    table, error_table = "\n".join(rows), "\n".join(errors)
    return f"""\
# {recipe.model}

Open-vocabulary places, counts and scenes in aerial images: a sentence in, places and similarities out.

Licence of the weights: research and non-commercial use only, because sets with such terms are in the
training data. The code is Apache-2.0.

## Training data

| set | annotations used | licence |
|---|---|---|
{table}

Initial weights: EfficientNet-Lite0 (ImageNet, Apache-2.0) and all-MiniLM-L6-v2 (Apache-2.0, frozen).
Images set aside for validation and near-duplicates of evaluated images were not trained on.

## Recipe

{schedule.steps} steps of {schedule.dense_batch} crops of {schedule.dense_crop} px with boxes, points or masks
and {schedule.caption_batch} captioned crops of {schedule.caption_crop} px; AdamW, cosine, averaged weights
(decay {schedule.ema}); seed {schedule.seed}; kept: step {validation["step"]}.

## Validation (what the checkpoint was chosen by)

Mean recall of caption retrieval: {validation["recall"]:.3f}. Relative count error by set:

| set | mean of abs(count - truth) / (truth + 1) |
|---|---|
{error_table}
"""
