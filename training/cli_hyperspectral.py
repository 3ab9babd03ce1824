"""`remoteclip train hyperspectral`: the land cover of a cube, by sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge.cubes import Cube
    from training.hyperspectral.classes import LandCover

app = typer.Typer()

ModelFolder = Annotated[
    Path,
    typer.Argument(help="Checkpoint folder, a file of CLIP weights, or `default` for the shipped model."),
]
CubeFile = Annotated[Path, typer.Argument(help="Hyperspectral cube: ENVI (.hdr and data) or MATLAB (.mat).")]
Names = Annotated[
    str | None,
    typer.Option("--classes", metavar="A,B,...", help="Names of classes, such as tree,water."),
]
PromptFile = Annotated[
    Path | None,
    typer.Option("--prompts", help="Prompt list instead: a class a prompt, its texts as wordings."),
]
Bands = Annotated[
    str | None,
    typer.Option(
        "--wavelengths",
        metavar="FILE|FIRST:LAST[/N]",
        help="Of the bands, in nm: a file, or a range, perhaps `without 1-3,108-112`; default: the cube's.",
    ),
]
Variable = Annotated[
    str | None, typer.Option(help="Of a MATLAB file, the one that holds the cube; default: the only one.")
]
Scales = Annotated[str, typer.Option(help="The scene is looked at in these sizes, one beside the other.")]
Views = Annotated[int, typer.Option(help="1: as it lies; 8: turned and mirrored too.")]
Epochs = Annotated[int, typer.Option(min=1, help="Of training on the zero-shot labels.")]


@app.command("hyperspectral")
def hyperspectral(
    model: ModelFolder,
    cube: CubeFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder for the maps.")],
    classes: Names = None,
    prompts: PromptFile = None,
    wavelengths: Bands = None,
    variable: Variable = None,
    scales: Scales = "1,2,4",
    views: Views = 8,
    epochs: Epochs = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on with the run in OUT.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")] = None,
) -> None:
    """Map the land cover of a hyperspectral cube from the names of its classes; no labels are needed.

    Writes the class map and its confidence (GeoTIFF where the cube is georeferenced, else PNG and npy), a
    picture with a legend, and the area of every class.
    """
    opened, wanted = cube_and_classes(cube, wavelengths, variable, classes, prompts)
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from training.hyperspectral.noisy import NoisyTraining
    from training.hyperspectral.run import map_scene, open_scene
    from training.hyperspectral.zeroshot import parse_zero_shot

    zero = parse_zero_shot(scales, views)
    if threads:
        torch.set_num_threads(threads)
    scene = open_scene(model, opened, wanted)
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("training", total=epochs)
        mapped = map_scene(
            scene,
            out,
            zero,
            NoisyTraining(epochs=epochs),
            seed,
            resume=resume,
            passes=lambda passes: progress.track(passes, description="zero-shot"),
            epoch_done=lambda epoch: progress.update(task, completed=epoch),
        )
    for name in mapped.unseen:
        console.print(
            f"{name} is the likeliest class nowhere, so the map cannot hold it (reword it, or leave it out)",
            style="yellow",
        )
    rows, columns = opened.values.shape[:2]
    for area in mapped.areas:
        square = "" if area.m2 is None else f", {area.m2:.0f} m2"
        print(f"{area.name}: {area.pixels} pixels, {area.share:.1%}{square}")
    print(f"{out / 'map.png'}: {len(wanted)} classes over {rows} x {columns} pixels")


def cube_and_classes(
    cube: Path, wavelengths: str | None, variable: str | None, classes: str | None, prompts: Path | None
) -> tuple[Cube, list[LandCover]]:
    """What the options name. Raises MissingExtra, UsageError, ConfigErrors, SourceError."""
    from firmware_cfg.errors import UsageError
    from training.errors import require_extra

    require_extra("train", "torch", "sklearn", "matplotlib", "cv2")
    from edge.cubes import read_cube
    from training.hyperspectral.classes import classes_from_list, classes_from_names

    if (classes is None) == (prompts is None):
        raise UsageError("name the classes: either --classes tree,water,soil,road or --prompts LIST")
    wanted = classes_from_list(prompts) if prompts else classes_from_names(str(classes))
    return read_cube(cube, wavelengths, variable), wanted
