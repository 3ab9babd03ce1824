"""`remoteclip compile export`: the graphs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import JsonOption, parse_size


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint folder of a run, or a file such as RemoteCLIP-ViT-B-32.pt.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write; exported graphs there are replaced.")
    ],
    image_size: Annotated[
        str | None,
        typer.Option(
            "--image-size",
            metavar="WxH",
            help="The tile of a CLIP tower's graph; default: its native square. A light tower takes any.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint's ONNX graphs, and compare them with torch on both CPU engines.

    image.onnx (float32), image.fp16.onnx (float16 up to the embeddings), image.weights that both read, and
    text.onnx. Nothing is written where an engine does not reproduce torch.
    """
    from training.errors import require_extra

    require_extra("compile", "torch", "onnx", "onnxscript", "onnxslim", "onnxruntime")
    import json

    from rich.console import Console
    from rich.table import Table

    from compile.export_folder import export_checkpoint
    from training.checkpoint import open_checkpoint

    console = Console(stderr=True)
    size = parse_size(image_size)
    exported = export_checkpoint(open_checkpoint(checkpoint), out, size, console)
    if as_json:
        checks = [
            {
                "engine": check.engine,
                "precision": check.precision,
                "places": check.places,
                "missing": check.missing,
                "max_abs_difference": dict(check.differences),
            }
            for check in exported.checks
        ]
        facts = {"out": str(out), "sizes": exported.sizes, "text_cosine": exported.text_cosine}
        print(json.dumps({**facts, "parity": checks}))
        return
    table = Table("engine", "graph", "places", "missing", "largest difference")
    for check in exported.checks:
        largest = ", ".join(f"{name} {value:.2g}" for name, value in check.differences.items())
        table.add_row(check.engine, check.precision, str(check.places), str(check.missing), largest)
    console.print(table)
    for name, size_in_bytes in exported.sizes.items():
        print(f"{out / name}: {size_in_bytes / 1e6:.2f} MB")
    print(f"text tower: lowest cosine to float32 {exported.text_cosine:.4f}")
