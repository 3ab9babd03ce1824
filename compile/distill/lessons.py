"""What a step draws, and the round of steps that the teacher answers before the student begins."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from typing import Any

import torch
from rich.console import Console

from compile.distill.answers import Lesson, Questions, marks
from compile.distill.options import DistillOptions
from compile.distill.store import TeacherStore
from compile.distill.teacher import Teacher
from compile.distill.unlabelled import Unlabelled
from training.batches import Batches
from training.loop import prepared_ahead, progress_bar
from training.prompts import SentenceBank
from training.recipe import Recipe

# What of a schedule decides which crops a step sees; the rest of it may change under one store.
_DRAWN = (
    "dense_batch",
    "dense_crop",
    "caption_batch",
    "caption_crop",
    "box_captions",
    "extra_captions",
    "seed",
)
_STORE_SCHEMA = 1


class Lessons:
    """The steps of a run: crops as the recipe draws them, with the teacher's answers.

    The crops are functions of the seed, the step and the place in the batch, so teacher and student see the
    same ones, and so does a student that learns alone by the same recipe.
    """

    def __init__(
        self,
        batches: Batches,
        unlabelled: Unlabelled | None,
        bank: SentenceBank,
        store: TeacherStore,
        options: DistillOptions,
    ) -> None:
        self.batches = batches
        self.unlabelled = unlabelled
        self.bank = bank
        self.store = store
        self.options = options

    def questions(self, step: int) -> Questions:
        """What a step of the round shows."""
        dense, captioned = self.batches.dense(step, self.bank), self.batches.captions(step, self.bank)
        crops, scenes = dense.image, captioned.image
        if self.unlabelled is not None:
            more_crops, more_scenes = self.unlabelled.draw(step)
            crops, scenes = torch.cat((crops, more_crops)), torch.cat((scenes, more_scenes))
        return Questions(dense, captioned, crops, scenes)

    def have_answered(self, teacher: Teacher, workers: int, console: Console) -> None:
        """Let the teacher answer what it has not answered yet; interrupted, it goes on where it stopped."""
        missing = self.store.missing(self.options.round)
        drawn = prepared_ahead(lambda i: self.questions(missing[i]), 0, len(missing), workers)
        with progress_bar(console) as progress, closing(drawn):
            task = progress.add_task(
                "teacher", total=self.options.round, completed=self.options.round - len(missing)
            )
            for step, asked in zip(missing, drawn, strict=True):
                self.store.write(step, teacher.answer(asked))
                if step == missing[0]:
                    self.store.require_space(self.options.round)
                progress.update(task, advance=1)

    def stream(
        self, first: int, last: int, device: torch.device, workers: int
    ) -> Generator[Lesson, None, None]:
        """Lessons of steps first .. last - 1, prepared ahead by threads; a long run repeats the round."""

        def prepare(step: int) -> Lesson:
            asked = self.questions(step % self.options.round)
            answers = self.store.read(step % self.options.round, marks(asked.crops), marks(asked.scenes))
            return Lesson.of(asked, answers, device)

        return prepared_ahead(prepare, first, last, workers)


def store_identity(teacher_sha256: str, recipe: Recipe, unlabelled: Unlabelled | None) -> dict[str, Any]:
    """All that a teacher's answers depend on, beside the images themselves (which have their marks)."""
    document = json.loads(recipe.model_dump_json(include={"object_sets", "caption_sets", "distractors"}))
    document |= {"templates": recipe.templates, "thermal_templates": recipe.thermal_templates}
    document["schedule"] = {name: getattr(recipe.schedule, name) for name in _DRAWN}
    images = None
    if unlabelled is not None:
        images = {"files": len(unlabelled.files), "sha256": unlabelled.sha256, "batch": unlabelled.batch}
    return {
        "schema": _STORE_SCHEMA,
        "teacher_sha256": teacher_sha256,
        "drawn": document,
        "unlabelled": images,
    }
