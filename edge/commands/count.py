"""`remoteclip count`: what the drone would count in a recording."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.commands.options import (
    BundleOption,
    EngineName,
    EngineOption,
    JsonOption,
    Precision,
    PrecisionOption,
    PromptsOption,
    SizeOption,
    ThreadsOption,
    parse_size,
)


def count(
    source: Annotated[str, typer.Argument(help="A video, an image, a folder of images, or `demo`.")],
    prompts: PromptsOption,
    as_json: JsonOption = False,
    sequence: Annotated[
        bool,
        typer.Option("--sequence", help="The images of a folder follow one another: track through them."),
    ] = False,
    bundle: BundleOption = "default",
    engine: EngineOption = EngineName.openvino,
    precision: PrecisionOption = Precision.auto,
    image_size: SizeOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Count in a recording with the daemon's own pipeline. With --json, one object a frame."""
    import json

    from edge.bundle.load import load_bundle
    from edge.count import CountTable, count_frames, record
    from edge.pipeline import Pipeline
    from edge.sources import open_source
    from firmware_cfg.prompt_list import load_prompt_list

    size = parse_size(image_size)
    loaded = load_prompt_list(prompts)
    table = CountTable()
    with (
        open_source(source, sequence=sequence) as frames,
        Pipeline(
            load_bundle(bundle),
            loaded,
            engine_name=engine.value,
            precision=precision.value,
            image_size=size,
            threads=threads,
            independent=frames.independent,
        ) as pipeline,
    ):
        for result in count_frames(frames, pipeline):
            if as_json:
                typer.echo(json.dumps(record(result), ensure_ascii=False))
            table.add(result)
        if not as_json:
            typer.echo("\n".join(table.lines(frames.skipped)))
