"""The student: how it begins, and the checkpoint that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.distill.options import DistillOptions
from compile.distill.teacher import Teacher
from training.card import model_card
from training.checkpoint import SCHEMA, Checkpoint, ModelSpec, load_checkpoint, save_checkpoint
from training.errors import CheckpointError
from training.models.lite import LiteImageTower
from training.models.trunk import VARIANTS
from training.recipe import Recipe
from training.torch_engine import text_tower
from training.towers.clip_text import ClipText

_LICENCE = "research and non-commercial use only (see card.md)"


def starting_student(recipe: Recipe, teacher: Teacher) -> LiteImageTower:
    """The recipe's image tower in the teacher's space: from ImageNet, or the recipe's first checkpoint.

    Raises CheckpointError where that checkpoint is another model's or of another space.
    """
    if recipe.start_from is None:
        return LiteImageTower(teacher.width, model=recipe.model)
    checkpoint = load_checkpoint(Path(recipe.start_from))
    spec = checkpoint.spec
    if (spec.model, spec.embedding_width) != (recipe.model, teacher.width):
        raise CheckpointError(
            f"{recipe.start_from}: a {spec.model} of width {spec.embedding_width}; the student is a"
            f" {recipe.model} of the teacher's width {teacher.width}"
        )
    return checkpoint.image


@dataclass(frozen=True, slots=True)
class StudentWriter:
    """Writes the student with the teacher's text tower."""

    recipe: Recipe
    options: DistillOptions
    teacher: Teacher
    images: Mapping[str, int]
    unlabelled: int

    def save(self, folder: Path, image: LiteImageTower, entry: Mapping[str, Any]) -> None:
        """Write the checkpoint folder; entry: the validation that it is kept for."""
        taught = self.teacher.checkpoint
        text = text_tower(taught)
        spec = ModelSpec(
            SCHEMA,
            self.recipe.model,
            VARIANTS[self.recipe.model].timm_name,
            taught.spec.text_tower if isinstance(taught, Checkpoint) else taught.spec.model,
            self.teacher.width,
            image.cell.in_channels,
            _LICENCE,
            text.spec.model_dump(mode="json", exclude_none=True) if isinstance(text, ClipText) else None,
        )
        metrics = {"validation": entry, "teacher": {"model": taught.spec.model, "sha256": taught.sha256}}
        save_checkpoint(folder, spec, image, text, metrics, self.card(entry))

    def card(self, entry: Mapping[str, Any]) -> str:
        """The card of a pre-trained model, and what the teacher gave."""
        checkpoint, options = self.teacher.checkpoint, self.options
        weights = ", ".join(
            f"{name} {value:g}" for name, value in options.weights.model_dump().items() if value
        )
        labels = (
            "and the annotations above" if options.labels else "alone: the annotations above did not teach"
        )
        more = f"\nUnlabelled images: {self.unlabelled}, {options.unlabelled} a step.\n" * bool(
            self.unlabelled
        )
        licence = checkpoint.licence if not isinstance(checkpoint, Checkpoint) else checkpoint.spec.licence
        return f"""{model_card(self.recipe, entry, self.images)}
## Teacher

{checkpoint.spec.model}, weights sha256:{checkpoint.sha256}. The student learned its image embeddings and
lookup maps of {options.round} steps' crops, {labels}. The text tower is the teacher's.
Losses and weights: {weights}. Licence of the teacher: {licence}.
{more}"""
