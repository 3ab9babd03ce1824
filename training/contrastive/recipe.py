"""The recipe of contrastive pre-training: RemoteCLIP, section III; what it leaves open is an option."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from firmware_cfg.base import ConfigModel
from firmware_cfg.located_yaml import load_model, parse_located_yaml, read_config_bytes
from firmware_cfg.problems import must, stated

LITE = "remoteclip-lite"
SCRATCH = "scratch"
"""Value of `start_from` for towers without pre-trained weights."""


def _share_range(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 < value[0] <= value[1] <= 1:
        raise must("be two numbers above 0 and at most 1, the smaller one first")
    return value


class Augmentation(ConfigModel):
    """The paper's augmentations, drawn by (seed, epoch, sample)."""

    crop: Annotated[tuple[float, float], AfterValidator(_share_range)] = Field(
        default=(0.8, 1.0), description="random crop: range of its share of the image's area"
    )
    flip: bool = Field(default=True, description="mirror one image in two")
    quarter_turns: bool = Field(default=True, description="turn by 0, 90, 180 or 270 degrees")


class ValidationSet(ConfigModel):
    """Captions that choose the checkpoint; without this section the `val` part of the shards does."""

    name: str = Field(description="folder of a caption set (Karpathy format) below the data root")
    split: str = "val"
    images: int | None = Field(default=None, gt=1, description="at most so many, for a quicker look")


class ContrastSchedule(ConfigModel):
    """Optimisation. A step contrasts `accumulate` times `batch` pairs, whatever the number of processes."""

    steps: int = Field(gt=0)
    warmup: int = Field(ge=0, description="steps of linear warm-up; cosine to zero follows")
    batch: int = Field(gt=1, description="pairs contrasted with one another, over all processes")
    accumulate: int = Field(default=1, gt=0, description="batches whose gradients are averaged for a step")
    chunk: int | None = Field(
        default=None,
        gt=0,
        description="pairs a process holds activations of at a time; features of the whole batch are cached "
        "and each chunk runs twice: the same gradient in less memory",
    )
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.2, ge=0, description="of matrices only")
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = Field(default=1e-6, gt=0)
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest norm of the whole gradient")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="bfloat16", description="of the towers' arithmetic (autocast); float16 scales the loss"
    )
    freeze_batch_norm: bool = Field(
        default=True, description="keep the statistics that the weights were trained with"
    )
    shared_captions: Literal["positive", "negative"] = Field(
        default="positive",
        description="what two images under one and the same sentence are to each other; the paper's plain "
        "InfoNCE takes them for negatives, though boxes often yield the same sentence",
    )
    evaluate_every: int = Field(gt=0)
    save_every: int = Field(gt=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _chunks_need_frozen_statistics(self) -> ContrastSchedule:
        if self.chunk is not None and not self.freeze_batch_norm:
            raise stated(
                "chunk needs freeze_batch_norm: each chunk would be normalised by itself",
                "leave out chunk, or set freeze_batch_norm to true",
            )
        return self


class ContrastRecipe(ConfigModel):
    """A run of `remoteclip train pretrain` on captioned shards."""

    model: str = Field(
        description="RN50, ViT-B-32, ViT-B-16, ViT-L-14, an open_clip config (*.json beside the recipe),"
        " remoteclip-lite0 or remoteclip-lite2"
    )
    start_from: str | None = Field(
        default=None,
        description="weights to go on from, relative to the recipe: an official OpenAI or RemoteCLIP file, "
        f"or a checkpoint folder; `{SCRATCH}`: none",
    )
    quick_gelu: bool | None = Field(
        default=None, description="the activation; default: what the file of weights was trained with"
    )
    shards: str | None = Field(
        default=None, description="folder that `remoteclip data build` wrote, relative to the recipe"
    )
    validation: ValidationSet | None = None
    augmentation: Augmentation = Augmentation()
    schedule: ContrastSchedule


def is_contrastive(path: Path) -> bool:
    """Whether the recipe contrasts captioned shards: it names a CLIP tower, or shards for a light one.

    Raises ConfigErrors where the file is no YAML.
    """
    document: Any = parse_located_yaml(read_config_bytes(path), str(path)).data
    if not isinstance(document, dict):
        return False
    return "shards" in document or not str(document.get("model", LITE)).startswith(LITE)


def load_contrast_recipe(path: Path) -> ContrastRecipe:
    """Read and validate a recipe. Raises ConfigErrors with file, line and column of every fault.

    Relative paths in it are found beside the recipe, wherever the command runs.
    """
    recipe = load_model(path, ContrastRecipe)
    places = {
        name: str((path.parent / value).absolute())
        for name, value in (("start_from", recipe.start_from), ("shards", recipe.shards))
        if value is not None and value != SCRATCH
    }
    if recipe.model.endswith(".json"):
        places["model"] = str((path.parent / recipe.model).absolute())
    return recipe.model_copy(update=places)
