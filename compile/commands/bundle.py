"""`remoteclip compile bundle`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import JsonOption, SizeOption, parse_size


class TargetName(str, Enum):
    """What `--target` takes."""

    cpu = "cpu"
    jetson_orin = "jetson-orin"
    rtx = "rtx"


def bundle(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint folder of a run, or a file such as RemoteCLIP-ViT-B-32.pt.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Bundle folder to write; a bundle there is replaced.")
    ],
    target: Annotated[
        TargetName,
        typer.Option(help="The device; for a GPU its graphs are also built ahead of time (extra: rtx)."),
    ] = TargetName.cpu,
    data: Annotated[
        Path | None, typer.Option(help="Data root with the recipe's sets; default: $REMOTECLIP_DATA.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="The checkpoint's recipe; default: its run's, else the shipped model's."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Images for the ranges of int8; default: the recipe's training images."
        ),
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Annotated images for the gates; default: the shipped set."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="CHECKPOINT", help="What the checkpoint was distilled from, for a row of the report."
        ),
    ] = None,
    image_size: SizeOption = None,
    allow_regression: Annotated[
        bool,
        typer.Option(
            "--allow-regression", help="Write what fails its gates, too; its manifest says so for ever."
        ),
    ] = False,
    report_folder: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FOLDER", help="Where report.html goes; default: OUT.report beside OUT."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export, calibrate, quantize, verify and gate; write the bundle, and a report of what it cost.

    Nothing is written where a variant lost too much accuracy or an engine does not reproduce the golden
    vectors.
    """
    from training.errors import require_extra

    require_extra("compile", "torch", "onnx", "onnxscript", "onnxslim", "onnxruntime")
    import json

    from rich.console import Console

    from compile.bundle import BundleOptions, compile_bundle
    from compile.report.compiled import report_on
    from training.data_root import data_root
    from training.recipe import default_recipe, load_recipe

    console = Console(stderr=True)
    beside = checkpoint.parent / "recipe.json"  # what `train pretrain` left of the run
    options = BundleOptions(
        recipe=load_recipe(recipe or (beside if beside.is_file() else default_recipe())),
        data=data_root(data),
        target=target.value,
        image_size=parse_size(image_size),
        images=images,
        probe=probe,
        teacher=teacher,
        allow_regression=allow_regression,
    )
    compiled = compile_bundle(checkpoint, out, options, console)
    report = report_on(compiled, report_folder or out.with_name(f"{out.name}.report"))
    if as_json:
        print(json.dumps(report.as_json()))
        return
    # Into a file or pipe a table is printed whole instead of folded to 80 columns.
    stdout = Console()
    (stdout if stdout.is_terminal else Console(width=160)).print(report.table)
    for sentence in compiled.bundle.manifest.regressions:
        print(f"let pass: {sentence}")
    print(f"{report.page}: the same with plots")
    print(f"{out}: {compiled.megabytes:.1f} MB, manifest {compiled.bundle.manifest_sha256}")
