"""`remoteclip data`: the command group. Heavy packages are imported only inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.data.manifest import Manifest

app = typer.Typer(
    name="data", no_args_is_help=True, help="Annotated sets as captioned shards (extra: train)."
)


@app.callback()
def data_group() -> None:
    """Annotated sets as captioned shards (extra: train)."""


@app.command("build")
def build_command(
    recipe: Annotated[Path, typer.Argument(help="Data recipe (YAML): which sets, which words, which rules.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for shards, manifest.json and report.md.")],
    data: Annotated[Path | None, typer.Option(help="Data root; default: $REMOTECLIP_DATA.")] = None,
    engine: Annotated[
        str, typer.Option(help="local, or ray: the cluster that $RAY_ADDRESS names, else this machine.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine; default: one a CPU.")
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Continue the build in OUT: finished shards are kept.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print nothing but one JSON object.")] = False,
) -> None:
    """Caption annotated images, remove duplicates and leaks, and write WebDataset shards."""
    from training.errors import require_extra

    require_extra("train", "cv2", "imagehash", "PIL", "scipy")
    from training.data.build import build
    from training.data.engine import create_engine
    from training.data.recipe import load_data_recipe
    from training.data_root import data_root

    loaded = load_data_recipe(recipe)
    manifest = build(loaded, data_root(data), out, create_engine(engine, workers), resume)
    if not as_json:
        _print(_counts(manifest))
        print(f"{out}: what was left out and why is in report.md")
    _print_json(out, manifest)


@app.command("inspect")
def inspect_command(
    folder: Annotated[Path, typer.Argument(help="Folder that `data build` has filled.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the pictures; default: FOLDER/inspect.")
    ] = None,
    part: Annotated[str, typer.Option(help="train or val.")] = "train",
    images: Annotated[int, typer.Option(min=1, max=200, help="Images on the contact sheet.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the images.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print nothing but one JSON object.")] = False,
) -> None:
    """Draw a contact sheet with boxes and captions, and plot classes, counts and caption lengths."""
    from training.errors import require_extra

    require_extra("train", "cv2", "matplotlib")
    import json

    from training.data.inspection import inspect_shards

    found = inspect_shards(folder, out or folder / "inspect", part, images, seed)
    if not as_json:
        _print(found.table())
        for path in found.pictures:
            print(path)
    print(json.dumps(found.as_json()))


def _counts(manifest: Manifest) -> Any:
    from rich.table import Table

    from training.data.manifest import COUNTS

    table = Table("set", title="images by set")
    for column in COUNTS:
        table.add_column(column.replace("_", " "), justify="right")
    for source in manifest.sources:
        table.add_row(source.name, *(str(getattr(source, column)) for column in COUNTS))
    table.add_section()
    table.add_row("all", *(str(sum(getattr(s, column) for s in manifest.sources)) for column in COUNTS))
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    # Into a file or pipe a table is printed whole instead of folded to 80 columns.
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


def _print_json(out: Path, manifest: Manifest) -> None:
    import json

    print(
        json.dumps(
            {
                "out": str(out),
                "recipe_sha256": manifest.recipe_sha256,
                "train": manifest.samples("train"),
                "val": manifest.samples("val"),
                "captions": sum(source.captions for source in manifest.sources),
                "duplicates": sum(source.duplicates for source in manifest.sources),
                "leaks": sum(source.leaks for source in manifest.sources),
                "faulty": sum(source.faulty for source in manifest.sources),
                "shards": len(manifest.shards),
            }
        )
    )
