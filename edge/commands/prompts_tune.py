"""`remoteclip prompts tune` and `compare`: what a list sees in a clip, and what an edit changes."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.commands.options import (
    BundleOption,
    EngineName,
    EngineOption,
    JsonOption,
    Precision,
    PrecisionOption,
    SizeOption,
    ThreadsOption,
    TilesOption,
    parse_size,
    parse_tiles,
)

if TYPE_CHECKING:
    from edge.sources import FrameSource

OnOption = Annotated[
    str, typer.Option("--on", metavar="VIDEO_OR_FOLDER", help="A video, an image or a folder of images.")
]
SequenceOption = Annotated[bool, typer.Option("--sequence", help="Images of a folder follow one another.")]

_LOOKED_AT = frozenset(
    {"every", "sequence", "bundle", "engine", "precision", "image_size", "tiles", "threads"}
)


def tune(
    context: typer.Context,
    prompts: Annotated[Path, typer.Argument(metavar="LIST", help="Prompt list (YAML).")],
    on: OnOption,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="PAGE.html", help="The page to write.")
    ] = Path("tune.html"),
    positive: Annotated[
        str, typer.Option("--positive", metavar="3,7", help="Numbers of crops that are right.")
    ] = "",
    negative: Annotated[
        str, typer.Option("--negative", metavar="12", help="Numbers of crops that are wrong.")
    ] = "",
    marks: Annotated[
        Path | None,
        typer.Option("--marks", metavar="FILE", help="File of marks, such as PAGE.marks.yaml."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put the change into the list; without it the change is shown.")
    ] = False,
    every: Annotated[int, typer.Option("--every", min=1, help="Look at every so many-th frame.")] = 1,
    sequence: SequenceOption = False,
    as_json: JsonOption = False,
    bundle: BundleOption = "default",
    engine: EngineOption = EngineName.openvino,
    precision: PrecisionOption = Precision.auto,
    image_size: SizeOption = None,
    tiles: TilesOption = "none",
    threads: ThreadsOption = None,
) -> None:
    """Show on one page what a list sees in a clip; marks on its crops calibrate the list.

    Writes PAGE.html, and beside it PAGE.sightings.npz, so that the next run needs no model, and with marks
    PAGE.marks.yaml.
    """
    import json

    from edge.bundle.load import load_bundle
    from edge.progress import watched
    from edge.runtime import BundleRuntime
    from edge.tune.collect import Look
    from edge.tune.marks import read_marks
    from edge.tune.session import Plan, run
    from edge.tune.summary import as_dict, lines
    from edge.tune.write_back import write_back
    from firmware_cfg.errors import UsageError
    from firmware_cfg.prompt_list import load_prompt_list

    look = Look(parse_size(image_size), parse_tiles(tiles), every)
    given = read_marks(marks, positive, negative)
    if write and not (given.positive or given.negative or given.places):
        raise UsageError("--write needs marks (--positive, --negative or --marks)")
    loaded = load_prompt_list(prompts)
    model = load_bundle(bundle)
    runtime = BundleRuntime(model, engine.value, precision.value, threads)

    settings = (model.manifest_sha256, engine.value, precision.value, sequence)
    plan = Plan(loaded, on, output, look, settings, _looked_at(context))
    with watched("looking") as seen:
        outcome = run(plan, runtime, partial(recording, on, sequence), given, seen=seen)
    worse = outcome.tuning is not None and outcome.tuning.warning is not None
    written = write and outcome.changed is not None and not worse
    if written and outcome.changed is not None:
        write_back(loaded, outcome.changed)
    if as_json:
        typer.echo(
            json.dumps({**as_dict(outcome), "page": str(output), "written": written}, ensure_ascii=False)
        )
    else:
        typer.echo("\n".join(lines(outcome, output, loaded.path, written)))
    if write and outcome.changed is not None and worse:
        raise typer.Exit(1)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Prompt list.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The same after an edit, or another one.")],
    on: OnOption,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PAGE.html", help="A page to write, too.")
    ] = None,
    sequence: SequenceOption = False,
    as_json: JsonOption = False,
    bundle: BundleOption = "default",
    engine: EngineOption = EngineName.openvino,
    precision: PrecisionOption = Precision.auto,
    image_size: SizeOption = None,
    tiles: TilesOption = "none",
    threads: ThreadsOption = None,
) -> None:
    """Show what an edit changes: two lists on one clip, their counts, scores and alerts side by side."""
    import json

    from edge.bundle.load import load_bundle
    from edge.pipeline import Pipeline
    from edge.progress import watched
    from edge.runtime import BundleRuntime
    from edge.tune.compare import as_dict, lines
    from edge.tune.compare import compare as compare_lists
    from edge.tune.compare_page import render
    from edge.tune.session import prepare, write_page
    from firmware_cfg.prompt_list import LoadedPromptList, load_prompt_list

    size, windows = parse_size(image_size), parse_tiles(tiles)
    lists = load_prompt_list(a), load_prompt_list(b)
    if output is not None:
        prepare(output)
    runtime = BundleRuntime(load_bundle(bundle), engine.value, precision.value, threads)

    def pipeline(loaded: LoadedPromptList, independent: bool) -> Pipeline:
        return Pipeline(runtime, loaded, image_size=size, tiles=windows, independent=independent)

    with (
        recording(on, sequence) as source,
        pipeline(lists[0], source.independent) as first,
        pipeline(lists[1], source.independent) as second,
        watched("looking") as seen,
    ):
        found = compare_lists(source, (str(a), str(b)), (first, second), seen=seen)
    if output is not None:
        write_page(output, render(found, on))
    typer.echo(json.dumps(as_dict(found), ensure_ascii=False) if as_json else "\n".join(lines(found)))


def recording(on: str, sequence: bool) -> FrameSource:
    """Open what can be looked at twice. Raises SourceError, UsageError."""
    from edge.sources import open_source
    from firmware_cfg.errors import UsageError

    source = open_source(on, sequence=sequence)
    if source.live:
        source.close()
        raise UsageError(
            f"--on: {source.name} is live and never looks the same twice (record it, then use the file)"
        )
    return source


def _looked_at(context: typer.Context) -> tuple[str, ...]:
    """The options of the command line that change what `tune` looks at, as words."""
    words: list[str] = []
    for option in context.command.params:
        name = option.name or ""
        source = context.get_parameter_source(name)
        if name in _LOOKED_AT and source is not None and source.name == "COMMANDLINE":
            value = context.params[name]
            words.append(option.opts[0])
            if value is not True:
                words.append(str(value.value if isinstance(value, Enum) else value))
    return tuple(words)
