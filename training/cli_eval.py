"""`remoteclip eval`: the command group. Every evaluation prints one JSON object as its last line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="eval", no_args_is_help=True, help="Evaluations, by the drone's own engine (extra: train)."
)

Model = Annotated[Path, typer.Argument(help="Bundle folder, or `default` for the shipped one.")]
Data = Annotated[Path, typer.Argument(help="Folder of the data set.")]
Json = Annotated[bool, typer.Option("--json", help="Print nothing but the JSON object.")]


@app.callback()
def eval_group() -> None:
    """Evaluations, by the drone's own engine (extra: train)."""


@app.command("count")
def count(
    model: Model,
    data: Data,
    split: Annotated[str, typer.Option(help="Split to report on; thresholds come from validation.")] = "test",
    form: Annotated[str | None, typer.Option("--format", help="coco, yolo, colour_masks or points.")] = None,
    as_json: Json = False,
) -> None:
    """Counting error by class, thresholds chosen on validation images."""
    bundle = _bundle(model)
    from training.evaluation.count import evaluate_count
    from training.evaluation.tables import count_table

    report = evaluate_count(bundle, data, split, form)
    _finish(None if as_json else count_table([report]), report.as_json())


@app.command("zeroshot")
def zeroshot(
    model: Model,
    data: Data,
    split: Annotated[str, typer.Option(help="Of a caption set; class folders have none.")] = "all",
    as_json: Json = False,
) -> None:
    """Zero-shot top-1 of whole images, classes from folder names or labels."""
    bundle = _bundle(model)
    from training.evaluation.scenes import evaluate_zeroshot
    from training.evaluation.tables import zeroshot_table

    report = evaluate_zeroshot(bundle, data, split)
    _finish(None if as_json else zeroshot_table([report]), report.as_json())


@app.command("retrieval")
def retrieval(
    model: Model,
    data: Data,
    split: Annotated[str, typer.Option(help="Split of the caption file.")] = "test",
    as_json: Json = False,
) -> None:
    """Caption retrieval: recall at 1, 5 and 10 both ways, and their mean."""
    bundle = _bundle(model)
    from training.evaluation.scenes import evaluate_retrieval
    from training.evaluation.tables import retrieval_table

    report = evaluate_retrieval(bundle, data, split)
    _finish(None if as_json else retrieval_table([report]), report.as_json())


@app.command("accuracy")
def accuracy(
    model: Model,
    data: Annotated[Path | None, typer.Argument(help="Data root; default: $REMOTECLIP_DATA.")] = None,
    as_json: Json = False,
) -> None:
    """Every figure of the model's table: counting, zero-shot and retrieval on held-back data."""
    bundle = _bundle(model)
    from training.data_root import data_root
    from training.evaluation.accuracy import evaluate_all
    from training.evaluation.tables import count_table, retrieval_table, zeroshot_table

    reports = evaluate_all(bundle, data_root(data))
    tables = (
        count_table(reports.counts),
        zeroshot_table(reports.zeroshot),
        retrieval_table(reports.retrieval),
    )
    for table in () if as_json else tables:
        _print(table)
    _finish(None, reports.as_json())


def _bundle(model: Path) -> Any:
    from training.errors import require_extra

    require_extra("train", "torch", "numpy", "cv2")
    from edge.bundle import DEFAULT, load_bundle

    return load_bundle(DEFAULT if str(model) == DEFAULT else model)


def _print(table: Any) -> None:
    from rich.console import Console

    # Into a file or pipe a table is printed whole instead of folded to 80 columns.
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def _finish(table: Any, document: dict[str, Any]) -> None:
    if table is not None:
        _print(table)
    print(json.dumps(document))
