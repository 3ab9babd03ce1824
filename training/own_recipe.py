"""`remoteclip train recipe`: a commented recipe for one's own images, from what their annotations say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import yaml

from edge.files import write_atomically
from firmware_cfg.errors import UsageError
from training.captioning.words import NO_THINGS, amount, readable, singular
from training.errors import DataError
from training.readers import OBJECT_READERS, detect_format
from training.recipe import ObjectSet, Recipe, default_recipe, load_recipe
from training.samples import ObjectSample
from training.splits import read_part

_FEW = 30  # objects of a class: fewer teach it little
_SMALL, _LARGE = 48.0, 24.0  # pixels that small things are magnified to, and large ones reduced to
_ZOOM = (0.3, 4.0)
_DENSE_BATCH = 16
_EPOCHS = 25


@dataclass(frozen=True, slots=True)
class OwnClass:
    """A class of somebody's own set: how often it occurs, and the phrases that a prompt may use for it."""

    name: str
    objects: int
    images: int
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnSet:
    """What a recipe needs to know of a set.

    held_back: how many of its images a run judges itself by; showing: how many of the others show objects;
    scale: range of the zoom that shows these at the sizes that the model knows; side: median side of the
    boxes in pixels, 0 for points.
    """

    name: str
    format: str
    images: int
    held_back: int
    showing: int
    classes: tuple[OwnClass, ...]
    scale: tuple[float, float]
    side: float


def examine(folder: Path) -> OwnSet:
    """Read a set with boxes or points. Raises DataError for what cannot be trained on."""
    form = detect_format(folder)
    if form not in OBJECT_READERS or form not in get_args(ObjectSet.model_fields["format"].annotation):
        raise DataError(f"{folder}: {form} has no boxes or points to train on (COCO and YOLO files have)")
    folder = folder.absolute()
    names, trained = read_part(OBJECT_READERS[form], folder, "train")
    _, held_back = read_part(OBJECT_READERS[form], folder, "val")
    samples = [*trained, *held_back]
    shipped = load_recipe(default_recipe())
    classes = tuple(
        OwnClass(name, objects, images, phrases_for(name, shipped))
        for label, name in enumerate(names)
        if (objects := sum(int((s.labels == label).sum()) for s in samples))
        and (images := sum(bool((s.labels == label).any()) for s in samples))
        and readable(name) not in NO_THINGS
    )
    showing = sum(bool(len(sample.labels)) for sample in trained)
    if not classes or showing < 2 or not held_back:
        raise DataError(f"{folder}: {len(samples)} images with objects of {len(classes)} classes: too few")
    return OwnSet(folder.name, form, len(samples), len(held_back), showing, classes, *_zoom(samples))


def phrases_for(name: str, shipped: Recipe) -> tuple[str, ...]:
    """What a user may write for a class: its name in words, and the shipped recipe's words for the same."""
    words = singular(readable(name))
    known = [
        tuple(phrases)
        for spec in shipped.object_sets
        for other, phrases in spec.objects.items()
        if words in (singular(readable(other)), phrases[0])
    ]
    alike = max(known, key=len, default=())
    return tuple(dict.fromkeys((words, *alike)))


def _zoom(samples: Sequence[ObjectSample]) -> tuple[tuple[float, float], float]:
    sides = np.concatenate([np.sqrt(np.prod(s.sizes.astype(np.float64), axis=1)) for s in samples])
    sides = sides[sides > 0]
    if not len(sides):
        return (0.7, 2.0), 0.0
    small, middle, large = np.quantile(sides, (0.1, 0.5, 0.9))
    # One's own pixels always lie inside: that is how the drone will look.
    low = float(np.clip(_LARGE / large, _ZOOM[0], 0.8))
    high = float(np.clip(_SMALL / small, 1.25, _ZOOM[1]))
    return (round(low, 2), round(high, 2)), float(middle)


def recipe_text(own: OwnSet, start_from: str = "default") -> str:
    """The recipe as commented YAML, which `load_recipe` accepts."""
    shipped = load_recipe(default_recipe())
    said = {phrase for c in own.classes for phrase in c.phrases}
    distractors = [word for word in shipped.distractors if not _about(word, said)]
    steps = int(np.clip(own.images * _EPOCHS // _DENSE_BATCH, 300, 1500))
    size = f"median box {own.side:.0f} px" if own.side else "points"
    objects = "\n".join(
        f"      # {amount(c.objects, 'object', digits=True)} in {amount(c.images, 'image', digits=True)}"
        + (": few; expect little of it before there are more" if c.objects < _FEW else "")
        + f"\n      {_plain(c.name)}: {_listed(c.phrases)}"
        for c in own.classes
    )
    return f"""\
# A recipe for {own.name}, by `remoteclip train recipe`. Change what you know better: every key is checked.
#     remoteclip train pretrain THIS_FILE --data FOLDER_ABOVE_{own.name} -o run
#     remoteclip compile bundle run/checkpoint --data FOLDER_ABOVE_{own.name} -o bundle
model: {shipped.model}
start_from: {_plain(start_from)}  # what ships; or the folder of a checkpoint

object_sets:
  - name: {_plain(own.name)}  # folder below --data; {own.images} images, {own.held_back} kept to judge by
    format: {own.format}
    weight: 1.0
    scale: [{own.scale[0]}, {own.scale[1]}]  # random zoom, 1 = your own pixels ({size})
    licence: not stated  # goes into the model card: write yours
    objects:
      # class of the set: the phrases that somebody may write in a prompt list; the first one names it
{objects}

# Sentences that phrases are put into; validation asks with the second.
templates: {_listed(shipped.templates)}
thermal_templates: {_listed(shipped.thermal_templates)}

# What none of your images shows, so that a prompt about something absent stays quiet. Remove what one does.
distractors:
  {_wrapped(distractors)}

schedule:
  steps: {steps}
  warmup: {steps // 20}
  dense_batch: {_DENSE_BATCH}
  dense_crop: 384
  caption_batch: 0  # you have no captions; sentences made of your boxes teach the whole image instead:
  box_captions: {min(16, max(own.showing // 2, 2))}
  caption_crop: 224
  extra_captions: 0
  learning_rate: 5.0e-4  # a quarter of the shipped model's, which this goes on from
  trunk_learning_rate: 1.0e-4
  weight_decay: 0.02
  ema: 0.99
  evaluate_every: {steps // 6}
  save_every: 50
  seed: 0
"""


def write_recipe(folder: Path, out: Path, start_from: str = "default", force: bool = False) -> OwnSet:
    """Examine a set and write a recipe for it; returns what was found.

    Raises UsageError where `out` exists and `force` is false, DataError for a set that cannot be trained on.
    """
    if out.exists() and not force:
        raise UsageError(f"{out}: exists (choose another name, or --force to write it anew)")
    own = examine(folder)
    text = recipe_text(own, start_from)
    Recipe.model_validate(yaml.safe_load(text))
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.encode())
    return own


def _about(word: str, phrases: Iterable[str]) -> bool:
    """Whether a distractor speaks of the same thing as one of the phrases."""
    return any(f" {phrase} " in f" {word} " or f" {word} " in f" {phrase} " for phrase in phrases)


def _plain(text: str) -> str:
    """A string as YAML reads it back, quoted only where it must be."""
    safe = text.replace(" ", "").replace("_", "").replace("-", "")
    if safe.isalnum() and safe.isascii() and yaml.safe_load(text) == text:
        return text
    return json.dumps(text)


def _listed(texts: Iterable[str]) -> str:
    return f"[{', '.join(_plain(text) for text in texts)}]"


def _wrapped(texts: Sequence[str], width: int = 105) -> str:
    lines, line = [], "["
    for number, text in enumerate(texts):
        part = _plain(text) + ("]" if number == len(texts) - 1 else ", ")
        if len(line) + len(part) > width:
            lines.append(line.rstrip())
            line = " "
        line += part
    return "\n  ".join([*lines, line])
