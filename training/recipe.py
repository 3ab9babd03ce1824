"""The training recipe: one YAML file says which sets, which words and which schedule made a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from firmware_cfg.errors import UsageError
from firmware_cfg.located_yaml import load_model
from firmware_cfg.problems import must

DEFAULT_CHECKPOINT = Path(__file__).parent / "checkpoints" / "default"
"""The shipped model as training wrote it, to go on from."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _zoom_range(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 < value[0] <= value[1]:
        raise must("be two numbers above 0, the smaller one first")
    return value


def _template(value: str) -> str:
    if value.count("{}") != 1 or value.count("{") != 1 or value.count("}") != 1:
        raise must("hold {} once, where the phrase goes, and no other braces")
    return value


Phrases = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Template = Annotated[str, AfterValidator(_template)]


class ObjectSet(_Section):
    """A set with boxes, points or masks."""

    name: str = Field(description="folder below the data root")
    format: Literal[
        "coco", "yolo", "voc", "dota", "visdrone", "auair", "colour_masks", "index_masks", "points"
    ]
    weight: float = Field(gt=0, description="share of the dense crops drawn from this set")
    scale: Annotated[tuple[float, float], AfterValidator(_zoom_range)] = Field(
        description="range of the random zoom, 1 = the image's own pixels"
    )
    objects: dict[str, Phrases] = Field(
        min_length=1, description="class of the set -> the phrases that a user may write for it"
    )
    areas: dict[str, Phrases] = Field(
        default={}, description="mask class counted by area, not as objects -> phrases"
    )
    absent: list[str] = Field(
        default=[],
        description="phrases of other sets' classes that no image of this set shows: sure negatives",
    )
    thermal: bool = Field(default=False, description="infrared images: templates speak of thermal images too")
    licence: str = Field(description="licence of the set, for the model card")


class CaptionSet(_Section):
    """A set of images with sentences and scene labels (Karpathy format)."""

    name: str
    labels: dict[str, Phrases] = Field(description="scene label -> phrases; class-to-caption")
    licence: str


class Schedule(_Section):
    """Optimisation. A step is one batch of dense crops and one of captioned images."""

    steps: int = Field(gt=0)
    warmup: int = Field(ge=0)
    dense_batch: int = Field(gt=0)
    dense_crop: int = Field(gt=0, multiple_of=32, description="pixels")
    caption_batch: int = Field(ge=0, description="images of the caption sets in a step")
    caption_crop: int = Field(gt=0, multiple_of=32, description="pixels")
    box_captions: int = Field(
        default=0,
        ge=0,
        description="images of the caption batch that come from the object sets, by Box-to-Caption",
    )
    extra_captions: int = Field(
        ge=0, description="sentences of other images added to the contrast as negatives"
    )
    learning_rate: float = Field(gt=0, description="of the pyramid, heads and projection")
    trunk_learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    ema: float = Field(gt=0, lt=1, description="decay of the averaged weights that are evaluated and kept")
    evaluate_every: int = Field(gt=0)
    save_every: int = Field(gt=0)
    seed: int = 0
    freeze_batch_norm: bool = Field(
        default=False, description="keep the pyramid's statistics, as several processes on CPUs must"
    )
    bfloat16: bool = Field(default=True, description="autocast; on CPUs without bfloat16 set it to false")

    @model_validator(mode="after")
    def _something_to_contrast(self) -> Schedule:
        if self.caption_batch + self.box_captions < 2:
            raise must("have two images or more in caption_batch and box_captions together")
        return self


class Recipe(_Section):
    """A run of `remoteclip train pretrain`."""

    model: Literal["remoteclip-lite0", "remoteclip-lite2"]
    start_from: str | None = Field(
        default=None,
        description="checkpoint folder to go on from, relative to the recipe, or `default`: what ships",
    )
    object_sets: list[ObjectSet] = Field(min_length=1)
    caption_sets: list[CaptionSet] = Field(
        default=[], description="none: the sentences are the boxes' own, by box_captions"
    )
    templates: list[Template] = Field(
        min_length=2, description="sentences with {} for the phrase; validation asks with the second"
    )
    thermal_templates: list[Template] = Field(min_length=1)
    distractors: list[str] = Field(
        min_length=6, description="things that no training image shows: negatives for open vocabulary"
    )
    schedule: Schedule


def default_recipe() -> Path:
    """The recipe of the shipped model."""
    return Path(__file__).parent / "recipes" / "lite0.yaml"


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe. Raises ConfigErrors with file, line and column of every fault.

    A relative `start_from` is found beside the recipe, wherever the command runs.
    """
    recipe = load_model(path, Recipe)
    if recipe.start_from is None:
        return recipe
    start = DEFAULT_CHECKPOINT if recipe.start_from == "default" else path.parent / recipe.start_from
    return recipe.model_copy(update={"start_from": str(start.absolute())})


def changed(
    recipe: Recipe, model: str | None, start_from: str | None, steps: int | None, left_out: Sequence[str]
) -> Recipe:
    """The recipe with what the command line says instead: None leaves a value as it is; see leave_out.

    Raises UsageError for an unknown model.
    """
    models = get_args(Recipe.model_fields["model"].annotation)
    if model is not None and model not in models:
        raise UsageError(f"{model}: unknown model (a lite recipe trains {' or '.join(models)})")
    schedule = recipe.schedule.model_copy(update={} if steps is None else {"steps": steps})
    stated = {"model": model, "start_from": start_from}
    update = {name: value for name, value in stated.items() if value is not None}
    return leave_out(recipe.model_copy(update={**update, "schedule": schedule}), left_out)


def leave_out(recipe: Recipe, classes: Sequence[str]) -> Recipe:
    """The recipe without some classes, each given as `set:class`: their objects are never boxed in training.

    The words may still occur in captions of whole images. Raises UsageError for what the recipe lacks.
    """
    sets = {spec.name: spec for spec in recipe.object_sets}
    for stated in classes:
        name, _, left = stated.partition(":")
        if name not in sets or left not in sets[name].objects:
            known = ", ".join(f"{spec.name}:{c}" for spec in recipe.object_sets for c in spec.objects)
            raise UsageError(f"{stated}: not a set and class of the recipe (they are {known})")
        kept = {c: phrases for c, phrases in sets[name].objects.items() if c != left}
        if not kept:
            raise UsageError(f"{stated}: the set's only class; take the set out of the recipe instead")
        sets[name] = sets[name].model_copy(update={"objects": kept})
    return recipe.model_copy(update={"object_sets": list(sets.values())})
