"""`remoteclip search`: which pictures show what a sentence says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import (
    BundleOption,
    EngineName,
    EngineOption,
    JsonOption,
    Precision,
    PrecisionOption,
    ThreadsOption,
)


def search(
    text: Annotated[str, typer.Argument(help='What to look for, such as "coal storage".')],
    where: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_FOLDER", help="A recorded run, a folder of runs, or a folder of images."
        ),
    ],
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="Most pictures, and most places.")] = 10,
    sheet: Annotated[
        Path | None, typer.Option("-o", "--sheet", metavar="FILE", help="Write a contact sheet (.jpg, .png).")
    ] = None,
    geojson: Annotated[
        Path | None, typer.Option("--geojson", metavar="FILE", help="Write those with a position as GeoJSON.")
    ] = None,
    as_json: JsonOption = False,
    bundle: BundleOption = "default",
    engine: EngineOption = EngineName.openvino,
    precision: PrecisionOption = Precision.auto,
    threads: ThreadsOption = None,
) -> None:
    """Rank recorded frames and the things found in them, or images of a folder, by a sentence.

    The pictures of a run are the flight's passages: frames that show the same count as one. Its places are
    the things that its prompt list found; their scores cannot be compared with those of pictures. Images of
    a folder (and what is below it) are read once; what was computed is kept in the user's cache.
    """
    from contextlib import ExitStack

    from edge.bundle.load import load_bundle
    from edge.files import write_atomically
    from edge.progress import shown
    from edge.runs.reader import Run, find_runs
    from edge.runs.search.find import search_images, search_runs
    from edge.runs.search.hits import as_geojson, lines
    from edge.runs.search.hits import as_json as to_json
    from edge.runs.search.images import ImageEmbedder, find_images
    from edge.runs.search.query import embed_query
    from edge.runs.search.sheet import check_sheet_path, write_sheet
    from edge.runtime import BundleRuntime
    from firmware_cfg.errors import SourceError

    if sheet is not None:
        check_sheet_path(sheet)
    runs = find_runs(where)
    images = [] if runs else find_images(where)
    loaded = load_bundle(bundle)
    model = BundleRuntime(loaded, engine.value, precision.value, threads)
    with ExitStack() as opened:
        recorded = {path: opened.enter_context(Run(path)) for path in runs}
        query = embed_query(text, model.sentences)
        model.release_sentences()
        if recorded:
            hits = search_runs(
                list(recorded.values()), query, loaded.manifest_sha256, model.facts, model.calibration, top
            )
        else:
            identity = (loaded.manifest_sha256, engine.value, precision.value)
            embedder = opened.enter_context(ImageEmbedder(model, identity))
            with shown("embedding images", len(images)) as step:
                hits = search_images(images, query, embedder, model.calibration, top, step)
        if sheet is not None:
            write_sheet(sheet, hits, recorded)
    if geojson is not None:
        try:
            write_atomically(geojson, as_geojson(text, hits).encode())
        except OSError as error:
            raise SourceError(
                f"{geojson}: cannot be written: {error.strerror} (name another file)"
            ) from error
        if all(hit.latitude is None for hit in hits):
            typer.echo(f"{geojson}: holds nothing: not one of these has a position", err=True)
    typer.echo(to_json(text, hits) if as_json else "\n".join(lines(hits)))
