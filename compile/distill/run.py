"""`remoteclip compile distill`: a teacher's round of answers, then a student's run; both survive a kill."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from compile.distill.answers import Lesson
from compile.distill.lessons import Lessons, store_identity
from compile.distill.objective import Distillation
from compile.distill.options import DistillOptions
from compile.distill.store import TeacherStore
from compile.distill.student import StudentWriter, starting_student
from compile.distill.teacher import Teacher, open_teacher
from compile.distill.unlabelled import Unlabelled
from edge.files import write_atomically
from firmware_cfg.errors import RemoteclipError, UsageError
from training.batches import Batches
from training.loop import CHECKPOINT_FOLDER, STATE_FILE, RunLog, claim_run, progress_bar, warmup_cosine
from training.objective import LitePretraining
from training.pretrain import ALONE, make_optimizer
from training.recipe import Recipe
from training.resumable import ResumableRun
from training.validation import Validation, ValidationScore

OPTIONS_FILE = "distill.json"
STORE_FOLDER = "teacher"


@dataclass
class DistillRun(ResumableRun):
    """A run in progress: everything that a resume must restore."""

    model: Distillation
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)


def distill(
    teacher_path: Path,
    recipe: Recipe,
    options: DistillOptions,
    root: Path,
    out: Path,
    resume: bool,
    console: Console,
    images: Sequence[Path] = (),
    store: Path | None = None,
    workers: int = 1,
) -> ValidationScore:
    """Run or resume a distillation; the best student on validation ends in `out/checkpoint`.

    Args:
        teacher_path: checkpoint folder of either family, or a file of CLIP weights.
        recipe: the student's model, data and schedule, as for pre-training.
        root: the data root of the recipe's sets.
        images: folders of unlabelled images, `options.unlabelled` of them a step.
        store: folder of the teacher's answers; default: `out/teacher`. Runs may share one.
        workers: threads that prepare batches.

    Raises UsageError when `out` holds a run and `resume` is false, or the run or store there is another's;
    CheckpointError where the teacher cannot be read, or its answers do not fit what is seen now.
    """
    device = ALONE.device
    console.print("reading the teacher")
    teacher = open_teacher(teacher_path, device)
    unlabelled = Unlabelled(images, options.unlabelled, recipe.schedule) if options.unlabelled else None
    identity = store_identity(teacher.checkpoint.sha256, recipe, unlabelled)
    _claim(out, recipe, options, identity, resume)
    answers = TeacherStore(store or out / STORE_FOLDER, identity)
    torch.manual_seed(recipe.schedule.seed)
    console.print("reading the data sets")
    batches, validation = Batches(root, recipe), Validation(root, recipe)
    bank = answers.bank([*batches.all_sentences(), *validation.all_sentences()], teacher.sentences)
    lessons = Lessons(batches, unlabelled, bank, answers, options)
    lessons.have_answered(teacher, workers, console)
    run = _begin(recipe, options, teacher, device)
    if resume and (out / STATE_FILE).exists():
        run.restore(out / STATE_FILE)
        console.print(f"resuming at step {run.step}")
    if not (out / CHECKPOINT_FOLDER).exists():
        run.best = -math.inf
    files = 0 if unlabelled is None else len(unlabelled.files)
    writer = StudentWriter(recipe, options, teacher, batches.images, files)
    _Loop(run, recipe, lessons, validation, writer, out, console).train(workers)
    best = max(run.history, key=lambda entry: float(entry["score"]))
    return ValidationScore(best["count_error"], best["recall"])


def _claim(
    out: Path, recipe: Recipe, options: DistillOptions, identity: dict[str, Any], resume: bool
) -> None:
    """Make `out` this run's folder, or take it up again: recipe, teacher and options must be the same."""
    claim_run(out, recipe.model_dump_json(indent=2).encode() + b"\n", resume)
    told = {"teacher_sha256": identity["teacher_sha256"], "unlabelled": identity["unlabelled"]}
    stated = json.dumps({**told, "options": options.model_dump()}, indent=2).encode() + b"\n"
    file = out / OPTIONS_FILE
    if resume and file.exists() and file.read_bytes() != stated:
        raise UsageError(
            f"{file}: the run has another teacher, other images or options (resume it with those, or begin a"
            " new run)"
        )
    write_atomically(file, stated)


def _begin(recipe: Recipe, options: DistillOptions, teacher: Teacher, device: torch.device) -> DistillRun:
    image = starting_student(recipe, teacher)
    image.trunk.freeze()
    model = Distillation(image, teacher, options)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaging = get_ema_multi_avg_fn(recipe.schedule.ema)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
    # The rates go by the names of the parameters, which are those of pre-training.
    return DistillRun(model, average, make_optimizer(cast(LitePretraining, model), recipe.schedule))


@dataclass
class _Loop:
    run: DistillRun
    recipe: Recipe
    lessons: Lessons
    validation: Validation
    writer: StudentWriter
    out: Path
    console: Console

    def train(self, workers: int) -> None:
        """From the run's step to the recipe's last."""
        schedule, run = self.recipe.schedule, self.run
        stream = self.lessons.stream(run.step, schedule.steps, ALONE.device, workers)
        with RunLog(self.out, run.step) as log, progress_bar(self.console) as progress, closing(stream):
            task = progress.add_task("distil", total=schedule.steps, completed=run.step)
            for lesson in stream:
                figures = self._step(lesson)
                run.step += 1
                log.write(run.step, figures)
                progress.update(task, advance=1, description=f"loss {figures['total']:.3f}")
                last = run.step == schedule.steps
                if run.step % schedule.evaluate_every == 0 or last:
                    self._evaluate(log)
                if run.step % schedule.save_every == 0 or last:
                    run.save(self.out / STATE_FILE)

    def _step(self, lesson: Lesson) -> dict[str, float]:
        run, schedule = self.run, self.recipe.schedule
        run.model.train()
        if schedule.freeze_batch_norm:
            for module in run.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        share = warmup_cosine(run.step, schedule.warmup, schedule.steps)
        for group in run.optimizer.param_groups:
            group["lr"] = group["full_lr"] * share
        run.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(ALONE.device.type, dtype=torch.bfloat16, enabled=schedule.bfloat16):
            terms = run.model(lesson)
        total = torch.stack(list(terms.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(run.model.parameters(), 5.0)
        if not bool(total.isfinite() and norm.isfinite()):
            raise RemoteclipError(
                f"step {run.step}: the loss or its gradient is not a number"
                " (begin anew with lower learning rates)"
            )
        run.optimizer.step()
        run.average.update_parameters(run.model)
        return {**{name: term.item() for name, term in terms.items()}, "total": total.item()}

    def _evaluate(self, log: RunLog) -> None:
        """Score the averaged weights on validation data and keep them if they are the best so far."""
        run = self.run
        averaged = cast(Distillation, run.average.module)
        image = copy.deepcopy(averaged.image).cpu().eval()
        score = self.validation.score(image, nn.Identity(), self.lessons.bank)
        entry = {
            "step": run.step,
            "score": score.score,
            "recall": score.recall,
            "count_error": score.count_error,
            "n": self.validation.images,
        }
        run.history.append(entry)
        self.console.print(json.dumps(entry), soft_wrap=True, highlight=False, markup=False)
        recall = {} if score.recall is None else {"recall": score.recall}
        log.plot(run.step, "validation", {**recall, "score": score.score})
        log.plot(run.step, "validation/count_error", score.count_error)
        if score.score > run.best:
            run.best = score.score
            self.writer.save(self.out / CHECKPOINT_FOLDER, image, entry)
