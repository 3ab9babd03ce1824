"""`remoteclip eval blindpairs`: what the model cannot tell apart, in images and in a list's prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firmware_cfg.errors import UsageError
from training.evaluation.options import (
    Classes,
    Engine,
    Form,
    Json,
    Model,
    Seed,
    Threads,
    finish,
    subject_of,
)

app = typer.Typer()


@app.command("blindpairs")
def blindpairs(
    model: Model,
    data: Annotated[
        Path | None,
        typer.Argument(help="Folder of images, annotated set, or a set of pairs (JSON) to score again."),
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="Second opinion: geoembed, timm:NAME[@FILE] or open_clip:TOWER@FILE.")
    ] = "geoembed",
    t1: Annotated[float | None, typer.Option(help="Model's cosine from which images are the same.")] = None,
    t2: Annotated[float | None, typer.Option(help="Encoder's cosine below which they are not.")] = None,
    quantile: Annotated[
        float, typer.Option(help="Of all pairs' model cosines, for t1; t2 is then the encoder's median.")
    ] = 0.98,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs to keep, the greatest differences first.")] = 150,
    per_image: Annotated[int, typer.Option(min=1, help="Pairs that an image may be in.")] = 1,
    split: Annotated[
        str | None, typer.Option(help="Split of an annotated set; default: test, class folders whole.")
    ] = None,
    form: Form = None,
    classes: Classes = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RUN", help="Folder for set, picture and review page."),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="LIST", help="Ask which prompts of this list are confused.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Images for LIST, or of a set that was moved.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write review_below into LIST; default: show the change.")
    ] = False,
    engine: Engine = "openvino",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Blind pairs: images that the model takes for the same and a label-free encoder does not.

    Mines them from DATA, asks what its annotations know of them, and writes a page to review and annotate
    them by hand; scores a set made so; or, with --prompts and --images, tells which prompts are confused.
    """
    if (data is None) == (prompts is None):
        raise UsageError("name DATA, or a prompt list with --prompts LIST --images FOLDER")
    if prompts is not None and images is None:
        raise UsageError("--prompts needs --images FOLDER (images of the terrain, without labels)")
    if write and prompts is None:
        raise UsageError("--write is for --prompts LIST")
    subject = subject_of(model, engine, threads, None)
    from training.blindpairs.encoders import open_encoder

    if prompts is not None and images is not None:
        from training.blindpairs.prompts_command import examine_prompts

        examined = examine_prompts(
            subject, prompts, images, encoder=open_encoder(encoder), out=out, write=write, seed=seed
        )
        finish(examined, None if as_json else examined.table(), None)
        return
    assert data is not None
    from training.blindpairs.mining import Search, mine_pairs, score_set
    from training.blindpairs.set_file import is_set_file

    if is_set_file(data):
        report = score_set(subject, data, images, seed)
    else:
        if images is not None:
            raise UsageError(f"{data}: holds its images itself; --images is for a set of pairs, or --prompts")
        search = Search(t1, t2, quantile, pairs, per_image, split, form, classes or (), seed)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        report = mine_pairs(subject, data, open_encoder(encoder), search, out)
    if out is not None:
        report.write(out)
    finish(report, None if as_json else report.table(), None)
