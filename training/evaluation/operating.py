"""What a list of classes is counted with: thresholds and model input, chosen on validation images only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge.bundle.manifest import SIZE_MULTIPLE
from edge.tiling import Tiles
from firmware_cfg.errors import RemoteclipError, UsageError
from firmware_cfg.prompt_list import PromptList
from training.evaluation.objects import ObjectTask, inside
from training.evaluation.sightings import Observer, Sighting, centres
from training.evaluation.thresholds import best_threshold, from_log_odds, log_odds
from training.evaluation.vocabulary import object_list, prompt_id
from training.samples import ObjectSample

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

Size = tuple[int, int]
Asked = Size | Literal["suited"] | None
Origin = Literal["validation", "other classes", "null bank"]

FACTORS = (1.5, 2.0)
"""Larger model inputs that are tried, as multiples of the side lengths that suit the frame."""
LARGEST_SIDE = 1280
SUITED: Literal["suited"] = "suited"
"""Stands for the model input that suits each frame."""
WORTH = 0.98
"""A larger input is slower on the drone: it must bring the error on validation below this share of it."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Model input and thresholds.

    image_size: (width, height), or None for the one that suits each frame; thresholds by class name, None
    where the null bank's default holds; origins: where each comes from; tried: for every input tried
    (`SUITED`, "960x576"), the mean absolute error on validation, summed over classes; tiles: see
    `edge.tiling`.
    """

    image_size: Size | None
    thresholds: dict[str, float | None]
    origins: dict[str, Origin]
    tried: dict[str, float]
    tiles: Tiles = "none"

    def prompts(self, dataset: str) -> PromptList:
        """The prompt list that a drone would count the classes with."""
        return _prompts(dataset, self.thresholds)


def choose(
    subject: Subject,
    task: ObjectTask,
    folder: Path,
    *,
    by_name: Collection[str] = (),
    thresholds: str = "validation",
    image_size: Asked = None,
    tiles: Tiles = "none",
) -> OperatingPoint:
    """Thresholds and model input of least error on the task's validation images.

    Every class's threshold is that of its least mean absolute error. A class that validation does not show
    takes the middle one of those it does, in log odds.

    Args:
        subject: the model.
        task: what is asked; `folder` is named in errors.
        by_name: classes whose threshold comes from the null bank, as for one that nobody has images of.
        thresholds: "validation", or "default" for the null bank's of every class.
        image_size: the model input to use, or SUITED; default: the one that suits each frame or, where that
            is better on validation, a larger one for all.
        tiles: windows of each frame to look at beside the whole of it.

    Raises:
        RemoteclipError: there are no validation images.
        UsageError: default thresholds of a checkpoint, which has no null bank; an unknown class or word.
    """
    if thresholds not in ("validation", "default"):
        raise UsageError(f"thresholds are validation or default, not {thresholds}")
    for name in by_name:
        if name not in task.names:
            raise UsageError(f"{folder}: {name} is none of the classes asked for ({', '.join(task.names)})")
    if subject.kind == "checkpoint" and (by_name or thresholds == "default"):
        raise _no_null_bank(subject)
    if thresholds == "default":
        values, origins = _complete(task.names, {}, task.names)
        return OperatingPoint(None if image_size == SUITED else image_size, values, origins, {}, tiles)
    if not task.validation:
        raise RemoteclipError(
            f"{folder}: no validation images to choose thresholds on (give the set a split `val`, or take the"
            " null bank's: --thresholds default)"
        )
    point = _search(subject, task, frozenset(by_name), image_size, tiles)
    if subject.kind == "checkpoint" and "null bank" in point.origins.values():
        raise _no_null_bank(subject)  # validation shows none of the classes
    return point


def larger_sizes(size: Size) -> list[Size]:
    """Model inputs of about the same shape with FACTORS times longer sides, none above LARGEST_SIDE."""
    sizes: list[Size] = []
    for factor in FACTORS:
        fit = min(factor, LARGEST_SIDE / max(size))
        width, height = (max(1, round(side * fit / SIZE_MULTIPLE)) * SIZE_MULTIPLE for side in size)
        if (width, height) != size and (width, height) not in sizes and fit > 1:
            sizes.append((width, height))
    return sizes


def parse_size(text: str | None) -> Asked:
    """`640x384` as (640, 384); SUITED and None as they are. Raises UsageError."""
    if text is None:
        return None
    if text == SUITED:
        return SUITED
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"image size {text}: expected WIDTHxHEIGHT, such as 640x384, or {SUITED}")
    size = int(width), int(height)
    if min(size) < 1 or any(side % SIZE_MULTIPLE for side in size):
        raise UsageError(f"image size {text}: both sides must be multiples of {SIZE_MULTIPLE}")
    return size


def counted(sample: ObjectSample, sighting: Sighting, names: Sequence[str]) -> list[int]:
    """The drone's counts by class, without what lies in regions that the annotators left open."""
    counts = [sighting.counts[prompt_id(name)] for name in names]
    if len(sample.ignored):
        ids = [prompt_id(name) for name in names]
        for place, is_open in zip(
            sighting.places, inside(centres(sighting.places), sample.ignored), strict=True
        ):
            counts[ids.index(place.prompt)] -= int(is_open)
    return counts


def _no_null_bank(subject: Subject) -> UsageError:
    return UsageError(
        f"{subject.path}: default thresholds come from a bundle's null bank, and this is a checkpoint"
        " (compile it, or choose thresholds on validation)"
    )


def _search(
    subject: Subject, task: ObjectTask, by_name: Collection[str], image_size: Asked, tiles: Tiles
) -> OperatingPoint:
    """Try the inputs, the one that suits each frame first, and keep the best with its thresholds."""
    first = None if image_size == SUITED else image_size
    least, best, found = np.inf, first, dict[str, float]()
    tried: dict[str, float] = {}
    pending: list[Size | None] = [first]
    while pending:
        size = pending.pop(0)
        name = "x".join(map(str, size)) if size else SUITED
        prompts = _prompts(task.dataset, dict.fromkeys(task.names, 0.0))
        with Observer(subject, prompts, size, tiles) as observer:
            seen = observer.observe(task.validation, f"{task.dataset}: validation, model input {name}")
        chosen, tried[name] = _thresholds(task, seen, by_name)
        if tried[name] < WORTH * least:
            least, best, found = tried[name], size, chosen
        if image_size is None and size is None:
            usual = Counter((sighting.tiling.whole.width, sighting.tiling.whole.height) for sighting in seen)
            pending = list(larger_sizes(usual.most_common(1)[0][0]))
    values, origins = _complete(task.names, found, by_name)
    return OperatingPoint(best, values, origins, tried, tiles)


def _prompts(dataset: str, thresholds: Mapping[str, float | None]) -> PromptList:
    prompts = object_list(dataset, list(thresholds), 0.0)
    given = zip(prompts.prompts, thresholds.values(), strict=True)
    return prompts.model_copy(
        update={"prompts": tuple(p.model_copy(update={"threshold": value}) for p, value in given)}
    )


def _thresholds(
    task: ObjectTask, seen: Sequence[Sighting], by_name: Collection[str]
) -> tuple[dict[str, float], float]:
    """Best threshold of every class that validation shows, and the sum of their mean absolute errors."""
    truth = task.truth(task.validation)
    scores: dict[str, list[list[float]]] = {prompt_id(name): [] for name in task.names}
    for sample, sighting in zip(task.validation, seen, strict=True):
        for of_image in scores.values():
            of_image.append([])
        unsettled = inside(centres(sighting.places), sample.ignored)
        for place, left_out in zip(sighting.places, unsettled, strict=True):
            if not left_out:
                scores[place.prompt][-1].append(place.score)
    chosen: dict[str, float] = {}
    total = 0.0
    for column, name in enumerate(task.names):
        if name not in by_name and truth[:, column].any():
            chosen[name], error = best_threshold(scores[prompt_id(name)], truth[:, column])
            total += error
    return chosen, total


def _complete(
    names: Sequence[str], chosen: Mapping[str, float], by_name: Collection[str]
) -> tuple[dict[str, float | None], dict[str, Origin]]:
    values: dict[str, float | None] = {}
    origins: dict[str, Origin] = {}
    # At 1 a class was never seen where it was, which says nothing of others.
    usual = [value for value in chosen.values() if value < 1] or list(chosen.values())
    for name in names:
        if name in chosen:
            values[name], origins[name] = chosen[name], "validation"
        elif name not in by_name and usual:
            values[name], origins[name] = from_log_odds(float(np.median(log_odds(usual)))), "other classes"
        else:
            values[name], origins[name] = None, "null bank"
    return values, origins
