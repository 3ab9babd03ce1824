"""The loop of contrastive pre-training: resumable to the same weights, logged, best on validation kept."""

from __future__ import annotations

import json
import math
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from edge.files import write_atomically
from firmware_cfg.errors import RemoteclipError, UsageError
from training.contrastive.batches import PairBatch, PairBatches
from training.contrastive.card import contrast_card
from training.contrastive.gradient import Contrast, Encoders
from training.contrastive.recipe import ContrastRecipe, ContrastSchedule
from training.contrastive.sources import PairSources
from training.contrastive.start import Start
from training.contrastive.state import (
    LARGEST_SCALE,
    ContrastRun,
    freeze_unused,
    make_optimizer,
    training_mode,
)
from training.loop import CHECKPOINT_FOLDER, STATE_FILE, RunLog, claim_run, progress_bar, warmup_cosine
from training.processes import Processes

METRICS_FILE = "metrics.json"
_AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def contrast_pretrain(
    recipe: ContrastRecipe,
    sources: PairSources,
    start: Start,
    out: Path,
    resume: bool,
    processes: Processes,
    console: Console,
    workers: int = 1,
) -> dict[str, Any]:
    """Train the towers of `start` by the recipe, or resume; the best are stored in `out/checkpoint`.

    Every process calls it; the main one writes. `workers` threads prepare batches. Returns the history's best
    entry. Raises UsageError when `out` holds a run and `resume` is false, when the run there follows another
    recipe or other shards, or when the processes cannot share a batch.
    """
    schedule = recipe.schedule
    if schedule.batch % processes.count:
        raise UsageError(
            f"{processes.count} processes cannot share a batch of {schedule.batch} (choose a multiple)"
        )
    processes.on_main(lambda: claim_run(out, _stated(recipe, sources), resume))
    towers = start.towers.to(processes.device)
    freeze_unused(towers)
    scaler = torch.amp.GradScaler(processes.device.type, enabled=schedule.precision == "float16")
    run = ContrastRun(towers, make_optimizer(towers, schedule), scaler)
    if resume and (out / STATE_FILE).exists():
        run.restore(out / STATE_FILE)
        console.print(f"resuming at step {run.step}")
    processes.must_agree(run.step, out / STATE_FILE)
    if not (out / CHECKPOINT_FOLDER).exists():
        run.best = -math.inf
    encoders = _distributed(Encoders(towers), schedule, processes)
    contrast = Contrast(encoders, processes, scaler, _AUTOCAST[schedule.precision], schedule.chunk)
    batches = PairBatches(sources.train, towers, recipe, processes)
    _Loop(run, recipe, sources, start, batches, contrast, out, console).train(workers)
    return _best(run)


def _stated(recipe: ContrastRecipe, sources: PairSources) -> bytes:
    """What a resumed run must agree on: the recipe, and its data by content instead of by place."""
    document = recipe.model_dump(mode="json", exclude={"shards"})
    if recipe.start_from is not None:
        document["start_from"] = Path(recipe.start_from).name
    return json.dumps({**document, "shards_sha256": sources.sha256}, indent=2).encode() + b"\n"


def _distributed(encoders: Encoders, schedule: ContrastSchedule, processes: Processes) -> nn.Module:
    if processes.count == 1:
        return encoders
    if not schedule.freeze_batch_norm:
        if processes.device.type != "cuda":
            raise UsageError("batch norm over several processes needs GPUs (set freeze_batch_norm: true)")
        nn.SyncBatchNorm.convert_sync_batchnorm(encoders)
    # Frozen statistics are the same everywhere; SyncBatchNorm keeps moving ones so.
    return DistributedDataParallel(encoders, broadcast_buffers=False)


def _best(run: ContrastRun) -> dict[str, Any]:
    return max(run.history, key=lambda entry: float(entry["mean_recall"]))


@dataclass
class _Loop:
    run: ContrastRun
    recipe: ContrastRecipe
    sources: PairSources
    start: Start
    batches: PairBatches
    contrast: Contrast
    out: Path
    console: Console

    def train(self, workers: int) -> None:
        """From the run's step to the recipe's last."""
        schedule, run = self.recipe.schedule, self.run
        each = schedule.accumulate
        stream = self.batches.stream(run.step * each, schedule.steps * each, workers)
        main = self.contrast.processes.main
        with (
            RunLog(self.out, run.step) if main else nullcontext() as log,
            progress_bar(self.console) as progress,
            closing(stream),
        ):
            task = progress.add_task("pretrain", total=schedule.steps, completed=run.step)
            while run.step < schedule.steps:
                begun = time.perf_counter()
                figures = self._step([next(stream) for _ in range(each)])
                took = time.perf_counter() - begun
                run.step += 1
                run.seconds += took
                run.losses.append(figures["loss"])
                if log is not None:
                    log.write(run.step, {**figures, "pairs_per_second": schedule.batch * each / took})
                progress.update(task, advance=1, description=f"loss {figures['loss']:.3f}")
                self._milestones(log)

    def _step(self, batches: list[PairBatch]) -> dict[str, float]:
        run, schedule, processes = self.run, self.recipe.schedule, self.contrast.processes
        training_mode(run.towers, schedule)
        rate = schedule.learning_rate * warmup_cosine(run.step, schedule.warmup, schedule.steps)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        run.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=processes.device)
        for i, batch in enumerate(batches):
            seed = _random_seed(schedule.seed, run.step, i, processes.rank)
            last = i == len(batches) - 1
            loss += self.contrast.accumulate(batch.to(processes.device), 1 / len(batches), seed, last)
        loss /= len(batches)
        run.scaler.unscale_(run.optimizer)
        largest = math.inf if schedule.gradient_clip is None else schedule.gradient_clip
        norm = nn.utils.clip_grad_norm_(run.towers.parameters(), largest)
        if not bool(loss.isfinite()) or not (run.scaler.is_enabled() or bool(norm.isfinite())):
            raise RemoteclipError(
                f"step {run.step + 1}: the loss or its gradient is not a number"
                " (begin anew with a lower learning rate)"
            )
        run.scaler.step(run.optimizer)
        run.scaler.update()
        with torch.no_grad():
            run.towers.logit_scale.clamp_(max=LARGEST_SCALE)
        figures = {"loss": loss.item(), "learning_rate": rate, "scale": run.towers.logit_scale.exp().item()}
        # A scaled gradient that overflowed has none: the scaler has left the step out and lowered its scale.
        return figures | ({"gradient_norm": norm.item()} if bool(norm.isfinite()) else {})

    def _milestones(self, log: RunLog | None) -> None:
        """Validate, and save the run, where the schedule says so and at the end."""
        schedule, run = self.recipe.schedule, self.run
        last = run.step == schedule.steps
        if run.step % schedule.evaluate_every == 0 or last:
            self._evaluate(log)
        if (run.step % schedule.save_every == 0 or last) and log is not None:
            run.save(self.out / STATE_FILE)

    def _evaluate(self, log: RunLog | None) -> None:
        run = self.run
        run.towers.eval()
        score = self.sources.validation.score(run.towers, self.contrast.processes)
        entry = {
            "step": run.step,
            "loss": float(np.mean(run.losses)),
            "images": score.images,
            "captions": score.captions,
            **score.figures(),
        }
        run.losses.clear()
        run.history.append(entry)
        better = score.mean_recall > run.best
        run.best = max(run.best, score.mean_recall)
        if log is None:
            return
        log.plot(run.step, "validation", score.figures())
        self.console.print(json.dumps(entry), soft_wrap=True, highlight=False, markup=False)
        if better:
            metrics = self._metrics(entry)
            card = contrast_card(self.recipe, self.sources, self.start.origin, metrics)
            self.start.save(self.out / CHECKPOINT_FOLDER, metrics, card)
        written = json.dumps(self._metrics(_best(run)), indent=2)
        write_atomically(self.out / METRICS_FILE, written.encode() + b"\n")

    def _metrics(self, kept: dict[str, Any]) -> dict[str, Any]:
        run, schedule, processes = self.run, self.recipe.schedule, self.contrast.processes
        return {
            "validation": kept,
            "training": {
                "step": run.step,
                "steps": schedule.steps,
                "pairs_seen": run.step * schedule.batch * schedule.accumulate,
                "seconds": round(run.seconds, 1),
                "processes": processes.count,
                "device": _device_name(processes.device),
            },
            "history": run.history,
        }


def _random_seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 2)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
