"""`remoteclip compile quantize`: the int8 variant of an exported image graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quantize(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="image.onnx of `compile export`, or the folder it is in.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; default: image.int8.onnx beside it.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of your own images to calibrate on; default: the recipe's training images."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data root of the recipe's sets; default: $REMOTECLIP_DATA.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="The checkpoint's recipe; default: the shipped model's.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Calibration images.")] = 500,
    most_float: Annotated[
        int, typer.Option(min=0, help="Leave at most this many layers float; 0: look for none.")
    ] = 3,
    floats: Annotated[
        list[str] | None,
        typer.Option(
            "--float", metavar="LAYER", help="Leave this layer float (its weights' name); repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Quantize an image graph to int8 on real images; the layers that hurt stay float."""
    from training.errors import require_extra

    require_extra("compile", "torch", "onnx", "onnxruntime")
    import json

    from rich.console import Console
    from rich.table import Table

    from compile.export import IMAGE_GRAPH
    from compile.quantize.images import CalibrationImages
    from compile.quantize.run import INT8_GRAPH, QuantizeOptions, quantize_image_graph
    from training.data_root import data_root
    from training.recipe import default_recipe, load_recipe
    from training.torch_engine import LITE_IMAGE_SIZES

    file = source / IMAGE_GRAPH if source.is_dir() else source
    target = out or file.with_name(INT8_GRAPH)
    if images is None:
        sets = load_recipe(recipe or default_recipe())
        chosen = CalibrationImages.from_recipe(sets, data_root(data), LITE_IMAGE_SIZES, count)
    else:
        chosen = CalibrationImages.from_folder(images, LITE_IMAGE_SIZES, count)
    options = QuantizeOptions(floats=tuple(floats or ()), most_float=most_float)
    console = Console(stderr=True)
    report = quantize_image_graph(file, target, chosen, options, console)
    if as_json:
        print(json.dumps({"file": str(target), "size": report.size, **report.facts()}))
        return
    if report.sensitivity.ranks:
        table = Table("left float", "images: cosine", "cells: cosine", title="What hurts most")
        for rank in report.sensitivity.ranks[:8]:
            close = rank.left_float
            table.add_row(rank.layer, f"{close.embedding:.5f}", f"{close.cells:.5f}")
        console.print(table)
    chosen_floats = ", ".join(report.sensitivity.floats) or "none"
    close = report.sensitivity.chosen
    print(f"{target}: {report.size / 1e6:.1f} MB, {report.images} images")
    print(f"{report.layers} layers, left float: {chosen_floats}")
    print(f"cosine to float32: images {close.embedding:.4f}, cells {close.cells:.4f}")
