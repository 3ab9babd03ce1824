"""What a distillation is told beside the recipe: the losses' weights, the teacher's round, other images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from firmware_cfg.errors import UsageError

LONGEST_ROUND = 1000


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Section):
    """Weights of the losses; the first three are CLIP-KD's (Yang et al., CVPR 2024). 0 leaves a loss out."""

    feature: float = Field(default=2000.0, ge=0, description="mean squared error of unit image embeddings")
    interactive: float = Field(default=1.0, ge=0, description="student images against the teacher's captions")
    affinity: float = Field(default=1.0, ge=0, description="KL divergence of image-text logits at T = 1")
    dense: float = Field(default=1.0, ge=0, description="focal distance of the lookup maps")
    box: float = Field(default=0.3, ge=0, description="boxes where the teacher sees something")


class DistillOptions(_Section):
    """Options of a run, stored in its folder: a resumed run must have the same.

    labels: the annotations' own losses (focal, areas, boxes) as well; round: number of steps whose crops the
    teacher answers, and which a longer run repeats; unlabelled: images a step from folders of one's own.
    """

    weights: Weights = Weights()
    labels: bool = True
    round: int = Field(gt=0)
    unlabelled: int = Field(default=0, ge=0)


def stated_weights(stated: Iterable[str]) -> Weights:
    """The default weights with those that the command line states as NAME=NUMBER. Raises UsageError."""
    values = Weights().model_dump()
    for text in stated:
        name, _, number = text.partition("=")
        if name not in values:
            raise UsageError(f"--weight {text}: no such loss (they are {', '.join(values)})")
        try:
            values[name] = float(number)
        except ValueError as error:
            raise UsageError(f"--weight {text}: write NAME=NUMBER, such as {name}=0.5") from error
        if not 0 <= values[name] < float("inf"):
            raise UsageError(f"--weight {text}: a weight is a number from 0 upwards")
    return Weights(**values)


def round_of(steps: int, asked: int | None) -> int:
    """Steps in the teacher's round: what was asked for, at most as many as the run takes."""
    return min(steps, asked or LONGEST_ROUND)


def unlabelled_folders(folders: Iterable[Path], images: int | None) -> int:
    """Unlabelled images a step: 8 where folders are named. Raises UsageError for a number alone."""
    named = bool(list(folders))
    if images and not named:
        raise UsageError("--unlabelled draws from --images FOLDER: name one")
    return (8 if images is None else images) if named else 0
