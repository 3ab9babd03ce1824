"""`remoteclip train rectify`: images without labels and a prompt list -> a rectified checkpoint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.optim import SGD

from edge.files import sha256_of_file
from edge.frames import RgbImage
from edge.prompts.rectification import Rectification
from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import AnyCheckpoint, open_checkpoint, save_rectified
from training.errors import DataError
from training.evaluation.dense_model import DenseModel
from training.evaluation.vocabulary import OBJECT_SENTENCES
from training.loop import CHECKPOINT_FOLDER, STATE_FILE, claim_run, progress_bar
from training.mean_embeddings import mean_embeddings
from training.pools import read_rgb
from training.progress import track
from training.readers.files import image_files
from training.rectify.bias import BiasMap, contrast, hard_masks, pooled, rectified
from training.rectify.distil import as_rectification, explained, fit_affine, left_out
from training.rectify.hypotheses import crop_logits, hypotheses
from training.rectify.maps import draw_maps
from training.rectify.terrain import favour, inner, row_texts
from training.rectify.words import VOCABULARY
from training.resumable import ResumableRun
from training.torch_engine import TorchTextEncoder, model_facts

CHECK_EVERY = 10
PICTURES = 4


@dataclass(frozen=True, slots=True)
class RectifyOptions:
    """How to learn; all of it is written into the run.

    Attributes:
        seed: of the images, of those held out, of tokens and noise.
        steps: of SGD, `batch` images each.
        images: at most so many of the folder's, drawn by seed.
        image_size: model input (width, height); None: the list's, else what suits the image.
        prior: how much of a prompt's general favour (see `favour`) is taken away before learning, 0 to 1.
        learning_rate: the first; it falls as (1 - step / steps) ** 0.9.
    """

    seed: int = 0
    steps: int = 40
    images: int = 60
    image_size: tuple[int, int] | None = None
    prior: float = 0.2
    learning_rate: float = 0.005
    batch: int = 4


@dataclass(slots=True)
class _Run(ResumableRun):
    model: BiasMap
    optimizer: SGD
    step: int
    best: float
    best_state: dict[str, Tensor]
    noise: Tensor


@dataclass(frozen=True, slots=True)
class _Folder:
    """Cells (D + E, h, w) float16 of every image; present (N, P) bool; which are held out."""

    cells: list[Tensor]
    present: Tensor
    held: frozenset[int]


def rectify(
    source: Path, folder: Path, prompts: PromptList, out: Path, options: RectifyOptions, resume: bool,
    console: Console,
) -> dict[str, Any]:  # fmt: skip
    """Learn and write OUT/checkpoint and OUT/maps. Returns what metrics.json says of the rectification.

    Nothing here reads a label. Raises UsageError, DataError, CheckpointError.
    """
    options = replace(options, image_size=options.image_size or prompts.image_size)
    files = _chosen(image_files(folder), options)
    checkpoint = open_checkpoint(source)
    model, facts = DenseModel(checkpoint), model_facts(checkpoint)
    if options.image_size is not None:
        model.check_size(options.image_size)
    if any(prompt.kind != "object" for prompt in prompts.prompts):
        raise UsageError("rectify takes object prompts: a scene prompt has no map (leave it out of the list)")
    texts = row_texts(prompts)
    if len(texts) < 2:
        raise UsageError("rectify needs two prompts or background sentences at least: maps that compete")
    hashes = [sha256_of_file(file)[:16] for file in files]
    stated = {**asdict(options), "model": checkpoint.sha256, "images": hashes}
    stated["prompts"] = hashlib.sha256(prompts.model_dump_json().encode()).hexdigest()
    claim_run(out, json.dumps(stated, indent=2).encode(), resume)

    rows = torch.from_numpy(model.bank(prompts, None).rows[:, : facts.embedding_width].copy())
    looked = [
        inner(model.look(RgbImage(read_rgb(file)), options.image_size)) for file in track(files, "images")
    ]
    scale, width = facts.logit_scale, facts.embedding_width
    crops = [crop_logits(cell[:width].float(), rows, scale) for cell in looked]
    least = min(map(len, crops))
    held = frozenset(range(0, len(files), 5))
    seen = _Folder(looked, hypotheses(torch.stack([logits[:least] for logits in crops])), held)
    prior = options.prior * favour(looked, rows, scale)
    centre = prior.mean()
    bias_map, figures = _learn(
        checkpoint, seen, rows, texts, prior - centre, facts.logit_scale, options, out, console
    )

    rectification, kept = _distil(checkpoint, bias_map, looked, rows, texts, centre, scale, options)
    trained = {**asdict(options), "images": len(files), "images_sha256": hashes, **figures, **kept}
    metrics = {**checkpoint.metrics, "rectification": trained}
    save_rectified(out / CHECKPOINT_FOLDER, source, rectification, metrics, _card(checkpoint, trained))
    _draw(out / "maps", model, prompts, rectification, files, options)
    return trained


def _chosen(files: list[Path], options: RectifyOptions) -> list[Path]:
    if len(files) < 2:
        raise DataError(f"{files[0].parent}: one image: what a model favours shows over several")
    order = np.random.default_rng(options.seed).permutation(len(files))[: options.images]
    return [files[number] for number in sorted(order.tolist())]


def _learn(
    checkpoint: AnyCheckpoint, seen: _Folder, rows: Tensor, texts: list[str], prior: Tensor, scale: float,
    options: RectifyOptions, out: Path, console: Console,
) -> tuple[BiasMap, dict[str, float]]:  # fmt: skip
    """The bias map of the step with the lowest loss on held-out images, without noise; or the start."""
    torch.manual_seed(options.seed)
    bias_map = BiasMap(checkpoint, rows.shape[1])
    ids = bias_map.reference.read(texts)
    optimizer = SGD(bias_map.parameters(), options.learning_rate, momentum=0.9, weight_decay=5e-4)
    noise = torch.Generator().manual_seed(options.seed)

    def loss_of(number: int, biases: tuple[Tensor, Tensor], generator: torch.Generator | None) -> Tensor:
        both = seen.cells[number].float()
        cell, position = both[: rows.shape[1]], both[rows.shape[1] :]
        maps = scale * torch.einsum("dhw,pd->phw", cell, rows)
        maps = rectified(maps, position, prior + biases[0], biases[1])
        return contrast(pooled(cell, hard_masks(maps, generator)), rows, seen.present[number], scale)

    def held_loss() -> float:
        with torch.no_grad():
            biases = bias_map(ids)
            usable = [n for n in sorted(seen.held) if seen.present[n].any()]
            return float(torch.stack([loss_of(n, biases, None) for n in usable]).mean()) if usable else 0.0

    run = _Run(bias_map, optimizer, 0, held_loss(), _copy(bias_map), noise.get_state())
    first = run.best
    if (out / STATE_FILE).exists():
        run.restore(out / STATE_FILE)
        noise.set_state(run.noise)
    free = [n for n in range(len(seen.cells)) if n not in seen.held and seen.present[n].any()]
    with progress_bar(console) as bar:
        task = bar.add_task("rectify", total=options.steps, completed=run.step)
        while free and run.step < options.steps:
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * (1 - run.step / options.steps) ** 0.9
            biases = bias_map(ids)
            drawn = torch.randint(len(free), (options.batch,), generator=noise).tolist()
            loss = torch.stack([loss_of(free[k], biases, noise) for k in drawn]).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(bias_map.parameters(), 1.0)
            optimizer.step()
            run.step += 1
            if run.step % CHECK_EVERY == 0 or run.step == options.steps:
                now = held_loss()
                if now < run.best:
                    run.best, run.best_state = now, _copy(bias_map)
                run.noise = noise.get_state()
                run.save(out / STATE_FILE)
            bar.update(task, completed=run.step)
    bias_map.load_state_dict(run.best_state)
    return bias_map, {"held_out_loss_before": first, "held_out_loss": run.best}


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _distil(
    checkpoint: AnyCheckpoint, bias_map: BiasMap, cells: list[Tensor], rows: Tensor, texts: list[str],
    centre: Tensor, scale: float, options: RectifyOptions,
) -> tuple[Rectification, dict[str, float]]:  # fmt: skip
    """The affine form, and how much of the bias map it keeps, for the list and for words left out."""
    encoder = TorchTextEncoder(checkpoint)
    words = [word for word in VOCABULARY if word not in texts]
    wide = mean_embeddings(encoder, [[form.format(word) for form in OBJECT_SENTENCES] for word in words])
    text = torch.cat((rows, torch.from_numpy(wide)))
    with torch.no_grad():
        bias, columns = bias_map(bias_map.reference.read([*texts, *words]))
    bias = bias + options.prior * favour(cells, text, scale) - centre
    target = torch.cat((bias.unsqueeze(1), columns), dim=1).double().numpy()
    known = text.double().numpy()
    listed, count = len(texts), len(known)
    # The list together weighs as much as all other words.
    weight = np.where(np.arange(count) < listed, 1 / listed, 1 / max(count - listed, 1))
    slope, offset = fit_affine(known, target, weight)
    kept = {
        "r2_listed": explained(target[:listed], known[:listed] @ slope + offset),
        "r2_left_out": explained(target[listed:], left_out(known, target, weight, listed)),
    }
    return as_rectification(slope, offset, scale), kept


def _card(checkpoint: AnyCheckpoint, trained: dict[str, Any]) -> str:
    return (
        f"{checkpoint.card.rstrip()}\n\n## Rectification\n\nLearned without labels from"
        f" {trained['images']} images: prior {trained['prior']}, {trained['steps']} steps,"
        f" seed {trained['seed']}. The affine form keeps R2 {trained['r2_listed']:.3f} of the bias map for"
        f" the list's prompts, {trained['r2_left_out']:.3f} for words left out of the fit.\n"
    )


def _draw(
    folder: Path, model: DenseModel, prompts: PromptList, rectification: Rectification, files: list[Path],
    options: RectifyOptions,
) -> None:  # fmt: skip
    folder.mkdir(exist_ok=True)
    banks = [model.bank(prompts, None), model.bank(prompts, rectification)]
    for file in files[:PICTURES]:
        image = read_rgb(file)
        seen = model.look(RgbImage(image), options.image_size)
        fit, stride = seen.fit, seen.stride
        rows = slice(int(fit.pad_y) // stride, max(1, int(fit.pad_y + fit.content_height) // stride))
        columns = slice(int(fit.pad_x) // stride, max(1, int(fit.pad_x + fit.content_width) // stride))
        maps = [model.logits(seen, bank)[:, rows, columns] for bank in banks]
        draw_maps(folder / f"{file.stem}.png", image, maps, row_texts(prompts))
