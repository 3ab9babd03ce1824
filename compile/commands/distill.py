"""`remoteclip compile distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def distill(
    teacher: Annotated[
        Path, typer.Argument(help="Checkpoint folder of either family, or a file of CLIP weights.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder; the student ends in OUT/checkpoint.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe YAML of the student; default: the shipped model's.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data root; default: $REMOTECLIP_DATA.")] = None,
    student: Annotated[
        str | None, typer.Option(help="remoteclip-lite0 or remoteclip-lite2, instead of the recipe's.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Unlabelled images, too; may be repeated."),
    ] = None,
    unlabelled: Annotated[int | None, typer.Option(min=1, help="Of them, images a step; default: 8.")] = None,
    labels: Annotated[
        bool, typer.Option(help="Learn from the recipe's annotations as well as from the teacher.")
    ] = True,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="Weight of feature, interactive, affinity, dense or box (0: left out); may be repeated.",
        ),
    ] = None,
    asked: Annotated[
        int | None,
        typer.Option(
            "--round", min=1, help="Steps whose crops the teacher answers, and a longer run repeats."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder of the teacher's answers, for several runs; default: OUT/teacher."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run in OUT.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")] = None,
) -> None:
    """Teach a light student a checkpoint's image embeddings and lookup maps.

    The student lives in the teacher's embedding space and takes over its text tower. Its answers are stored
    once; teaching and learning both go on where they were stopped, with --resume.
    """
    from training.errors import require_extra

    require_extra("compile", "torch", "timm", "open_clip", "transformers", "safetensors", "tensorboard")
    import torch
    from rich.console import Console

    from compile.distill.options import DistillOptions, round_of, stated_weights, unlabelled_folders
    from compile.distill.run import distill as run_distill
    from training.data_root import data_root
    from training.processes import batch_workers
    from training.recipe import changed, default_recipe, load_recipe

    if threads:
        torch.set_num_threads(threads)
    loaded = changed(load_recipe(recipe or default_recipe()), student, None, steps, ())
    folders = [folder.absolute() for folder in images or ()]
    options = DistillOptions(
        weights=stated_weights(weight or ()),
        labels=labels,
        round=round_of(loaded.schedule.steps, asked),
        unlabelled=unlabelled_folders(folders, unlabelled),
    )
    score = run_distill(
        teacher,
        loaded,
        options,
        data_root(data),
        out,
        resume,
        Console(stderr=True),
        folders,
        store,
        batch_workers(1),
    )
    recalled = "" if score.recall is None else f"mean recall {score.recall:.3f}, "
    print(f"{out / 'checkpoint'}: validation {recalled}score {score.score:.3f}")
