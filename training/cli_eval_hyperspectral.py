"""`remoteclip eval hyperspectral`: every stage of a label-free map against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli_hyperspectral import (
    Bands,
    CubeFile,
    Epochs,
    ModelFolder,
    Names,
    PromptFile,
    Scales,
    Variable,
    Views,
    cube_and_classes,
)
from training.evaluation.options import Json, Plot, Threads, finish

app = typer.Typer()


@app.command("hyperspectral")
def hyperspectral(
    model: ModelFolder,
    cube: CubeFile,
    truth: Annotated[
        Path | None, typer.Option(help="MATLAB file of the ground truth; default: the cube's own file.")
    ] = None,
    truth_variable: Annotated[
        str | None, typer.Option(help="Its abundances or label map; default: S_GT, else the only label map.")
    ] = None,
    truth_classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help="Classes in the truth's order; default: as --classes names them."
        ),
    ] = None,
    classes: Names = None,
    prompts: PromptFile = None,
    wavelengths: Bands = None,
    variable: Variable = None,
    scales: Scales = "1,2,4",
    views: Views = 8,
    epochs: Epochs = 20,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings, each with its own seed.")] = 5,
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Land cover of a cube without labels: OA, AA and kappa of each stage, beside few-label supervision."""
    opened, wanted = cube_and_classes(cube, wavelengths, variable, classes, prompts)
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from training.evaluation.hyperspectral import evaluate_hyperspectral
    from training.evaluation.hyperspectral_truth import read_truth
    from training.evaluation.plots import check_plot
    from training.hyperspectral.noisy import NoisyTraining
    from training.hyperspectral.run import open_scene
    from training.hyperspectral.zeroshot import parse_zero_shot

    if plot:
        check_plot(plot)
    if threads:
        torch.set_num_threads(threads)
    zero = parse_zero_shot(scales, views)
    scene = open_scene(model, opened, wanted)
    order = truth_classes and [" ".join(name.split()).lower() for name in truth_classes.split(",")]
    known = read_truth(truth or cube, truth_variable, scene.names, order or None, opened.values.shape[:2])
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=seeds * epochs)
        report = evaluate_hyperspectral(
            scene,
            known,
            seeds=seeds,
            zero=zero,
            training=NoisyTraining(epochs=epochs),
            passes=lambda passes: progress.track(passes, description="zero-shot"),
            epoch_done=lambda seed, epoch: progress.update(task, completed=seed * epochs + epoch),
        )
    finish(report, None if as_json else report.table(), plot)
