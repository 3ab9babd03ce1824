"""Options and steps that the commands of `remoteclip eval` share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

Model = Annotated[Path, typer.Argument(help="Bundle or checkpoint folder, or `default` for the shipped one.")]
Data = Annotated[Path, typer.Argument(help="Folder or annotation file of the data set.")]
Engine = Annotated[str, typer.Option(help="What runs a bundle: openvino or onnxruntime.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the runtime's choice.")]
Json = Annotated[bool, typer.Option("--json", help="Print nothing but the JSON object.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Also draw a figure (png, svg or pdf).")]
Form = Annotated[str | None, typer.Option("--format", help="Annotation format; default: detected.")]
Split = Annotated[str, typer.Option(help="Split to report on.")]
CountSplit = Annotated[
    str, typer.Option(help="Split to report on; thresholds are chosen on validation images.")
]
Classes = Annotated[
    list[str] | None, typer.Option("--class", help="Ask for this class only; may be repeated.")
]
ByName = Annotated[
    list[str] | None,
    typer.Option(help="Take this class's threshold from the null bank, as if nobody had images of it."),
]
Thresholds = Annotated[str, typer.Option(help="validation, or default for the bundle's null bank.")]
Size = Annotated[
    str | None,
    typer.Option("--image-size", metavar="WxH", help="Model input; default: chosen on validation."),
]
Protocol = Annotated[str, typer.Option(help="Prompts: default (this project's), remoteclip or skyscript.")]
Candidates = Annotated[
    int, typer.Option(min=1, help="SGD settings tried on validation images, the paper's first.")
]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training images.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")]


def require_train() -> None:
    """Raise MissingExtra unless the extra `train` is installed."""
    from training.errors import require_extra

    require_extra("train", "torch", "numpy", "cv2")


def subject_of(model: Path, engine: str, threads: int | None, plot: Path | None) -> Subject:
    """The model, after all that could make its evaluation useless is checked."""
    require_train()
    from training.evaluation.plots import check_plot
    from training.evaluation.subject import open_subject

    if plot:
        check_plot(plot)
    return open_subject(model, engine=engine, threads=threads)


def finish(report: Any, table: Any, plot: Path | None) -> None:
    """Draw, print the table unless there is none, and the JSON object last."""
    if plot:
        report.plot(plot)
    if table is not None:
        from rich.console import Console

        # Into a file or pipe a table is printed whole instead of folded to 80 columns.
        console = Console()
        (console if console.is_terminal else Console(width=140)).print(table)
    print(json.dumps(report.as_json()))
