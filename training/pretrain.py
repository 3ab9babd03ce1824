"""`remoteclip train pretrain`: one recipe, one run folder, resumable, best on validation kept."""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edge.files import write_atomically
from firmware_cfg.errors import RemoteclipError, UsageError
from training.batches import Batches
from training.card import model_card
from training.checkpoint import SCHEMA, ModelSpec, load_checkpoint, load_state, save_checkpoint, save_state
from training.errors import CheckpointError
from training.folders import recover_folder
from training.models.lite import LiteImageTower
from training.models.text import TextTower
from training.models.trunk import VARIANTS
from training.objective import LitePretraining, StepLosses
from training.prompts import SentenceBank
from training.recipe import Recipe, Schedule
from training.validation import Validation, ValidationScore

STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"
RECIPE_FILE = "recipe.json"
CHECKPOINT_FOLDER = "checkpoint"


@dataclass
class Run:
    """A run in progress: everything that a resume must restore."""

    model: LitePretraining
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, file: Path) -> None:
        save_state(
            file,
            {
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "best": self.best,
                "history": self.history,
            },
        )

    def restore(self, file: Path) -> None:
        """Take up the saved run. Raises CheckpointError where the state is damaged or another model's."""
        state = load_state(file)
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.best, self.history = state["step"], state["best"], state["history"]
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{file}: not the state of this model; choose another folder") from error


def learning_rate(step: int, schedule: Schedule) -> float:
    """Share of the full rate at a step: linear warm-up, then cosine to zero."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    done = (step - schedule.warmup) / max(schedule.steps - schedule.warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * done))


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


def pretrain(recipe: Recipe, root: Path, out: Path, resume: bool, console: Console) -> ValidationScore:
    """Run or resume a recipe on the data root; the best checkpoint ends in `out/checkpoint`.

    A recipe's `start_from` is relative to the working directory unless load_recipe made it absolute. Raises
    UsageError when `out` holds a run and `resume` is false, or the run there follows another recipe;
    CheckpointError where `start_from` is no checkpoint of the recipe's model.
    """
    state_file = out / STATE_FILE
    _claim(out, recipe, resume)
    torch.manual_seed(recipe.schedule.seed)
    console.print("reading the data sets")
    batches = Batches(root, recipe)
    validation = Validation(root, recipe)
    text = TextTower()
    console.print("encoding sentences")
    bank = SentenceBank.encode(text.minilm, [*batches.all_sentences(), *validation.all_sentences()])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if recipe.start_from is None:
        text.centre(bank.of(list(batches.prompt_sentences())))
        image = LiteImageTower(text.projection.out_features, model=recipe.model)
    else:
        image = _continue_from(recipe, text)
    image.trunk.freeze()
    model = LitePretraining(image, text).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.schedule.ema), use_buffers=True)
    run = Run(model, average, make_optimizer(model, recipe.schedule))
    if state_file.exists():
        run.restore(state_file)
        console.print(f"resuming at step {run.step}")
    if not (out / CHECKPOINT_FOLDER).exists():
        run.best = -math.inf
    _trim_log(out / LOG_FILE, run.step)
    _train(run, recipe, batches, validation, bank, text, out, device, console)
    best = max(run.history, key=lambda entry: float(entry["score"]))
    return ValidationScore(best["count_error"], best["recall"])


def _continue_from(recipe: Recipe, text: TextTower) -> LiteImageTower:
    """The image tower of the recipe's first checkpoint; its projection goes into `text`."""
    assert recipe.start_from is not None, "asked only where a recipe goes on from a checkpoint"
    folder = Path(recipe.start_from)
    checkpoint = load_checkpoint(folder)
    if checkpoint.spec.model != recipe.model:
        raise CheckpointError(f"{folder}: a {checkpoint.spec.model}, the recipe trains {recipe.model}")
    text.projection.load_state_dict(checkpoint.text.projection.state_dict())
    return checkpoint.image


def _claim(out: Path, recipe: Recipe, resume: bool) -> None:
    """Make `out` the folder of this recipe's run."""
    recover_folder(out / CHECKPOINT_FOLDER)
    if not resume and any((out / name).exists() for name in (STATE_FILE, CHECKPOINT_FOLDER)):
        raise UsageError(f"{out}: holds a run already (continue it with --resume, or choose another folder)")
    stated = recipe.model_dump_json(indent=2).encode() + b"\n"
    file = out / RECIPE_FILE
    if resume and file.exists() and file.read_bytes() != stated:
        raise UsageError(
            f"{file}: the run follows another recipe (resume it with that one, or begin a new run)"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(file, stated)


def _trim_log(file: Path, step: int) -> None:
    """Drop the entries of steps that a resumed run takes again; the last line of a killed run may be torn."""
    lines = file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    kept = {number: line for line in whole if (number := json.loads(line)["step"]) <= step}
    write_atomically(file, "".join(kept.values()).encode())


def _train(
    run: Run,
    recipe: Recipe,
    batches: Batches,
    validation: Validation,
    bank: SentenceBank,
    text: TextTower,
    out: Path,
    device: torch.device,
    console: Console,
) -> None:
    schedule = recipe.schedule
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress, (out / LOG_FILE).open("a", encoding="utf-8") as log:
        task = progress.add_task("pretrain", total=schedule.steps, completed=run.step)
        for dense, captioned in batches.stream(run.step, schedule.steps, bank):
            losses = _step(run, schedule, dense, captioned, device)
            run.step += 1
            log.write(json.dumps({"step": run.step, "time": time.time(), **losses}) + "\n")
            log.flush()
            progress.update(task, advance=1, description=f"loss {losses['total']:.3f}")
            last = run.step == schedule.steps
            if run.step % schedule.evaluate_every == 0 or last:
                _evaluate(run, recipe, validation, bank, text, out, console)
            if run.step % schedule.save_every == 0 or last:
                run.save(out / STATE_FILE)


def _step(run: Run, schedule: Schedule, dense: Any, captioned: Any, device: torch.device) -> dict[str, float]:
    run.model.train()
    share = learning_rate(run.step, schedule)
    for group in run.optimizer.param_groups:
        group["lr"] = group["full_lr"] * share
    dense, captioned = to_device(dense, device), to_device(captioned, device)
    run.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=schedule.bfloat16):
        focal, area, box = run.model.dense_losses(dense)
        caption = run.model.caption_loss(captioned)
    losses = StepLosses(focal, area, box, caption)
    if not bool(losses.total.isfinite()):
        raise RemoteclipError(
            f"step {run.step}: the loss is not a number (begin anew with lower learning rates)"
        )
    losses.total.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 5.0)
    run.optimizer.step()
    run.average.update_parameters(run.model)
    return {
        "focal": focal.item(),
        "area": area.item(),
        "box": box.item(),
        "caption": caption.item(),
        "total": losses.total.item(),
    }


def _evaluate(
    run: Run,
    recipe: Recipe,
    validation: Validation,
    bank: SentenceBank,
    text: TextTower,
    out: Path,
    console: Console,
) -> None:
    """Score the averaged weights on validation data and keep them if they are the best so far."""
    averaged: LitePretraining = run.average.module
    averaged.eval()
    score = validation.score(averaged.image.cpu(), averaged.projection.cpu(), bank)
    entry = {"step": run.step, "score": score.score, "recall": score.recall, "count_error": score.count_error}
    run.history.append(entry)
    console.print(json.dumps(entry), soft_wrap=True, highlight=False, markup=False)
    if score.score > run.best:
        run.best = score.score
        spec = ModelSpec(
            SCHEMA,
            recipe.model,
            VARIANTS[recipe.model].timm_name,
            "all-MiniLM-L6-v2",
            text.projection.out_features,
            averaged.image.cell.in_channels,
            "research and non-commercial use only (see card.md)",
        )
        card = model_card(recipe, entry)
        # The run goes on training its own projection: the average is in the tower only while it is written.
        live = copy.deepcopy(text.projection.state_dict())
        text.projection.load_state_dict(averaged.projection.state_dict())
        try:
            save_checkpoint(out / CHECKPOINT_FOLDER, spec, averaged.image, text, {"validation": entry}, card)
        finally:
            text.projection.load_state_dict(live)
    averaged.to(next(run.model.parameters()).device)


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
