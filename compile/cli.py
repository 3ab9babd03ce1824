"""`remoteclip compile`: the command group. Heavy packages are imported only inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compile.commands import distill, export, keygen, quantize, sign

app = typer.Typer(name="compile", no_args_is_help=True, help="Checkpoint to bundle (extra: compile).")


@app.callback()
def compile_group() -> None:
    """Checkpoint to bundle (extra: compile)."""


@app.command("bundle")
def bundle(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder of `remoteclip train pretrain`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Bundle folder to write.")],
    data: Annotated[
        Path | None, typer.Option(help="Data root with the validation images; default: $REMOTECLIP_DATA.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="The checkpoint's recipe; default: its run's, else the shipped model's."),
    ] = None,
) -> None:
    """Export, calibrate on validation images, verify on both CPU engines, write the bundle."""
    from training.errors import require_extra

    require_extra("compile", "torch", "onnx", "onnxscript", "onnxruntime")
    from rich.console import Console
    from rich.table import Table

    from compile.bundle import compile_bundle
    from training.data_root import data_root
    from training.recipe import default_recipe, load_recipe

    console = Console(stderr=True)
    beside = checkpoint.parent / "recipe.json"  # what `train pretrain` left of the run
    loaded = load_recipe(recipe or (beside if beside.is_file() else default_recipe()))
    compiled = compile_bundle(checkpoint, out, loaded, data_root(data), console)
    table = Table("engine", "graph", "places", "missing", "largest difference")
    for check in compiled.report.golden:
        largest = ", ".join(f"{name} {value:.2g}" for name, value in check.differences.items())
        table.add_row(check.engine, check.precision, str(check.places), str(check.missing), largest)
    console.print(table)
    total = sum(compiled.sizes.values()) / 1e6
    print(f"{compiled.folder}: {total:.1f} MB, manifest {compiled.manifest_sha256}")


app.command("distill")(distill.distill)
app.command("export")(export.export)
app.command("keygen")(keygen.keygen)
app.command("quantize")(quantize.quantize)
app.command("sign")(sign.sign)
