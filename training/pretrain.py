"""`remoteclip train pretrain` of remoteclip-lite: one recipe, one run folder, resumable, the best kept."""

from __future__ import annotations

import copy
import json
import math
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from firmware_cfg.errors import RemoteclipError, UsageError
from training.batches import Batches, CaptionBatch, DenseBatch
from training.card import model_card
from training.checkpoint import (
    SCHEMA,
    ModelSpec,
    load_checkpoint,
    own_text,
    save_checkpoint,
)
from training.errors import CheckpointError
from training.loop import CHECKPOINT_FOLDER, STATE_FILE, RunLog, claim_run, progress_bar, warmup_cosine
from training.models.lite import LiteImageTower
from training.models.text import TextTower
from training.models.trunk import VARIANTS
from training.objective import LitePretraining, StepLosses
from training.processes import Processes
from training.prompts import SentenceBank
from training.recipe import Recipe, Schedule
from training.resumable import ResumableRun
from training.validation import Validation, ValidationScore

ALONE = Processes(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


@dataclass
class Run(ResumableRun):
    """A run in progress: everything that a resume must restore."""

    model: LitePretraining
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)


def make_optimizer(model: LitePretraining, schedule: Schedule) -> torch.optim.AdamW:
    """AdamW: a lower rate for what comes pre-trained (trunk, projection), decay of matrices only."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            pretrained = name.startswith(("image.trunk.", "projection."))
            rate = schedule.trunk_learning_rate if pretrained else schedule.learning_rate
            decay = schedule.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "full_lr": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ]
    )


def pretrain(
    recipe: Recipe,
    root: Path,
    out: Path,
    resume: bool,
    console: Console,
    processes: Processes = ALONE,
    workers: int = 1,
) -> ValidationScore:
    """Run or resume a recipe on the data root; the best checkpoint ends in `out/checkpoint`.

    Every process of torchrun calls it, and the main one writes. `workers` threads prepare batches. Raises
    UsageError when `out` holds a run and `resume` is false, the run there follows another recipe, or the
    processes cannot share a batch; CheckpointError where `start_from` is no checkpoint of the recipe's model.
    """
    _can_share(recipe.schedule, processes)
    stated = recipe.model_dump_json(indent=2).encode() + b"\n"
    processes.on_main(lambda: claim_run(out, stated, resume))
    torch.manual_seed(recipe.schedule.seed)
    console.print("reading the data sets")
    batches = Batches(root, recipe)
    validation = Validation(root, recipe)
    text = TextTower()
    console.print("encoding sentences")
    bank = SentenceBank.encode(text.minilm, [*batches.all_sentences(), *validation.all_sentences()])
    if recipe.start_from is None:
        text.centre(bank.of(list(batches.prompt_sentences())))
        image = LiteImageTower(text.projection.out_features, model=recipe.model)
    else:
        image = _continue_from(recipe, text)
    image.trunk.freeze()
    model = LitePretraining(image, text, processes)
    model.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.schedule.ema), use_buffers=True)
    run = Run(model, average, make_optimizer(model, recipe.schedule))
    if (out / STATE_FILE).exists():
        run.restore(out / STATE_FILE)
        console.print(f"resuming at step {run.step}")
    processes.must_agree(run.step, out / STATE_FILE)
    if not (out / CHECKPOINT_FOLDER).exists():
        run.best = -math.inf
    _Loop(run, recipe, batches, validation, bank, text, out, processes, console).train(workers)
    best = max(processes.objects(run.history)[0], key=lambda entry: float(entry["score"]))
    return ValidationScore(best["count_error"], best["recall"])


def _can_share(schedule: Schedule, processes: Processes) -> None:
    for name, size in (
        ("dense_batch", schedule.dense_batch),
        ("caption_batch + box_captions", schedule.caption_batch + schedule.box_captions),
    ):
        if size % processes.count:
            raise UsageError(f"{processes.count} processes cannot share {name} of {size} (choose a multiple)")
    if processes.count > 1 and processes.device.type != "cuda" and not schedule.freeze_batch_norm:
        raise UsageError("batch norm over several processes needs GPUs (set freeze_batch_norm: true)")


def _continue_from(recipe: Recipe, text: TextTower) -> LiteImageTower:
    """The image tower of the recipe's first checkpoint; its projection goes into `text`."""
    assert recipe.start_from is not None, "asked only where a recipe goes on from a checkpoint"
    folder = Path(recipe.start_from)
    checkpoint = load_checkpoint(folder)
    if checkpoint.spec.model != recipe.model:
        raise CheckpointError(f"{folder}: a {checkpoint.spec.model}, the recipe trains {recipe.model}")
    text.projection.load_state_dict(own_text(folder, checkpoint).projection.state_dict())
    return checkpoint.image


@dataclass
class _Loop:
    run: Run
    recipe: Recipe
    batches: Batches
    validation: Validation
    bank: SentenceBank
    text: TextTower
    out: Path
    processes: Processes
    console: Console

    def train(self, workers: int) -> None:
        """From the run's step to the recipe's last."""
        schedule, run, processes = self.recipe.schedule, self.run, self.processes
        model = self._distributed()
        stream = self.batches.stream(
            run.step, schedule.steps, self.bank, processes.rank, processes.count, workers
        )
        with (
            RunLog(self.out, run.step) if processes.main else nullcontext() as log,
            progress_bar(self.console) as progress,
            closing(stream),
        ):
            task = progress.add_task("pretrain", total=schedule.steps, completed=run.step)
            for dense, captioned in stream:
                figures = self._step(model, dense, captioned)
                run.step += 1
                if log is not None:
                    log.write(run.step, figures)
                progress.update(task, advance=1, description=f"loss {figures['total']:.3f}")
                last = run.step == schedule.steps
                if run.step % schedule.evaluate_every == 0 or last:
                    processes.on_main(lambda: self._evaluate(log))
                if run.step % schedule.save_every == 0 or last:
                    processes.on_main(lambda: run.save(self.out / STATE_FILE))

    def _distributed(self) -> nn.Module:
        if self.processes.count == 1:
            return self.run.model
        if not self.recipe.schedule.freeze_batch_norm:
            nn.SyncBatchNorm.convert_sync_batchnorm(self.run.model)
        return DistributedDataParallel(self.run.model, broadcast_buffers=False)

    def _step(self, model: nn.Module, dense: DenseBatch, captioned: CaptionBatch) -> dict[str, float]:
        run, schedule, device = self.run, self.recipe.schedule, self.processes.device
        run.model.train()
        if schedule.freeze_batch_norm:
            for module in run.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        share = warmup_cosine(run.step, schedule.warmup, schedule.steps)
        for group in run.optimizer.param_groups:
            group["lr"] = group["full_lr"] * share
        run.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=schedule.bfloat16):
            losses = StepLosses(*model(to_device(dense, device), to_device(captioned, device)))
        losses.total.backward()
        terms = self.processes.mean(torch.stack([*losses, losses.total]))
        norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), 5.0)
        if not bool(terms.isfinite().all() and norm.isfinite()):
            raise RemoteclipError(
                f"step {run.step}: the loss or its gradient is not a number"
                " (begin anew with lower learning rates)"
            )
        run.optimizer.step()
        run.average.update_parameters(run.model)
        return dict(zip((*losses._fields, "total"), terms.tolist(), strict=True))

    def _evaluate(self, log: RunLog | None) -> None:
        """Score the averaged weights on validation data and keep them if they are the best so far."""
        run, text = self.run, self.text
        averaged: LitePretraining = run.average.module  # type: ignore[assignment]
        averaged.eval()
        score = self.validation.score(averaged.image.cpu(), averaged.projection.cpu(), self.bank)
        entry = {
            "step": run.step,
            "score": score.score,
            "recall": score.recall,
            "count_error": score.count_error,
            "n": self.validation.images,
        }
        run.history.append(entry)
        self.console.print(json.dumps(entry), soft_wrap=True, highlight=False, markup=False)
        if log is not None:
            recall = {} if score.recall is None else {"recall": score.recall}
            log.plot(run.step, "validation", {**recall, "score": score.score})
            log.plot(run.step, "validation/count_error", score.count_error)
        if score.score > run.best:
            run.best = score.score
            # The run goes on with its own projection: the average is in the tower only while it is written.
            live = copy.deepcopy(text.projection.state_dict())
            text.projection.load_state_dict(averaged.projection.state_dict())
            try:
                self._save(averaged.image, entry)
            finally:
                text.projection.load_state_dict(live)
        averaged.to(self.processes.device)

    def _save(self, image: LiteImageTower, entry: dict[str, Any]) -> None:
        spec = ModelSpec(
            SCHEMA,
            self.recipe.model,
            VARIANTS[self.recipe.model].timm_name,
            "all-MiniLM-L6-v2",
            self.text.projection.out_features,
            image.cell.in_channels,
            "research and non-commercial use only (see card.md)",
        )
        card = model_card(self.recipe, entry, self.batches.images)
        save_checkpoint(self.out / CHECKPOINT_FOLDER, spec, image, self.text, {"validation": entry}, card)


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor field on the device."""
    if device.type == "cpu":
        return batch
    moved = {
        name: value.to(device, non_blocking=True)
        if isinstance(value := getattr(batch, name), torch.Tensor)
        else value
        for name in batch.__dataclass_fields__
    }
    return type(batch)(**moved)
