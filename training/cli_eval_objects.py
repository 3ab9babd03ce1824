"""`remoteclip eval count`, `localisation` and `remotecount`: evaluations on sets of annotated objects."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.commands.options import TilesOption, parse_tiles
from training.evaluation.options import (
    ByName,
    Classes,
    CountSplit,
    Data,
    Engine,
    Form,
    Json,
    Model,
    Plot,
    Size,
    Split,
    Threads,
    Thresholds,
    finish,
    subject_of,
)

app = typer.Typer()


@app.command("count")
def count(
    model: Model,
    data: Data,
    split: CountSplit = "test",
    form: Form = None,
    classes: Classes = None,
    by_name: ByName = None,
    thresholds: Thresholds = "validation",
    image_size: Size = None,
    tiles: TilesOption = "none",
    engine: Engine = "openvino",
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Counting: error, exact and within one, by class and by how many there are."""
    subject = subject_of(model, engine, threads, plot)
    from training.evaluation.count import evaluate_count
    from training.evaluation.operating import parse_size
    from training.evaluation.tables import count_table

    report = evaluate_count(
        subject,
        data,
        split,
        form=form,
        classes=classes or (),
        by_name=by_name or (),
        thresholds=thresholds,
        image_size=parse_size(image_size),
        tiles=parse_tiles(tiles),
    )
    finish(report, None if as_json else count_table([report]), plot)


@app.command("localisation")
def localisation(
    model: Model,
    data: Data,
    split: CountSplit = "test",
    form: Form = None,
    classes: Classes = None,
    by_name: ByName = None,
    thresholds: Thresholds = "validation",
    image_size: Size = None,
    radius: Annotated[
        float | None, typer.Option(min=0.0, help="Pixels within which a place hits a truth that is a point.")
    ] = None,
    engine: Engine = "openvino",
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Localisation: precision and recall of centres, average precision of boxes at IoU 0.5."""
    subject = subject_of(model, engine, threads, plot)
    from training.evaluation.localisation import RADIUS, evaluate_localisation
    from training.evaluation.operating import parse_size
    from training.evaluation.tables import localisation_table

    report = evaluate_localisation(
        subject,
        data,
        split,
        form=form,
        classes=classes or (),
        by_name=by_name or (),
        thresholds=thresholds,
        image_size=parse_size(image_size),
        radius=RADIUS if radius is None else radius,
    )
    finish(report, None if as_json else localisation_table([report]), plot)


@app.command("remotecount")
def remotecount(
    model: Model,
    data: Data,
    split: Split = "test",
    form: Form = None,
    classes: Classes = None,
    numbers: Annotated[str, typer.Option(help="How captions write the number: words or digits.")] = "words",
    template: Annotated[str | None, typer.Option(help="Caption with {} where number and things go.")] = None,
    engine: Engine = "openvino",
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """RemoteCount: which of the captions with one to ten things is most similar to the image?"""
    subject = subject_of(model, engine, threads, plot)
    from training.evaluation.remotecount import TEMPLATE, evaluate_remotecount
    from training.evaluation.tables import remotecount_table

    report = evaluate_remotecount(
        subject,
        data,
        split,
        form=form,
        classes=classes or (),
        numbers=numbers,
        template=TEMPLATE if template is None else template,
    )
    finish(report, None if as_json else remotecount_table([report]), plot)
