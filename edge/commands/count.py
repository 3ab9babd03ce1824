"""`remoteclip count`: what the drone would count in a recording."""

from __future__ import annotations

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
    PromptsOption,
    SizeOption,
    ThreadsOption,
    TilesOption,
    parse_size,
    parse_tiles,
)
from firmware_cfg.errors import UsageError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from edge.sources import FrameSource
    from edge.whereabouts import Whereabouts


def count(
    source: Annotated[str, typer.Argument(help="A video, an image, a folder of images, a cube, or `demo`.")],
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
    tiles: TilesOption = "none",
    threads: ThreadsOption = None,
    camera: Annotated[
        str | None,
        typer.Option(
            "--camera",
            metavar="KEY=VALUE,...",
            help="To tell positions: the camera, such as hfov=69,gimbal=stabilised,pitch=-60.",
        ),
    ] = None,
    telemetry: Annotated[
        str | None,
        typer.Option("--telemetry", metavar="FILE", help="Telemetry of it: .tlog, .bin, .srt or .json."),
    ] = None,
    wavelengths: Annotated[
        str | None,
        typer.Option(
            "--wavelengths",
            metavar="FIRST:LAST|FILE",
            help="Of a cube that does not say: such as '380:2500/224 without 1-3,108', in nm.",
        ),
    ] = None,
    variable: Annotated[
        str | None, typer.Option("--variable", metavar="NAME", help="Of a MATLAB file: the cube's.")
    ] = None,
    window: Annotated[
        int, typer.Option("--window", min=16, max=4096, help="Side of a cube's windows, pixels.")
    ] = 256,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FOLDER", help="Keep a run there, for search and changes."),
    ] = None,
) -> None:
    """Count in a recording with the daemon's own pipeline. With --json, one object a frame."""
    import json
    from contextlib import ExitStack

    from edge.bundle.load import load_bundle
    from edge.count import CountTable, count_frames
    from edge.count import record as frame_record
    from edge.drift import DriftGauge, drift_line
    from edge.pipeline import Pipeline
    from edge.runs.recorder import open_recorder
    from edge.sources import CubeOptions, open_source
    from firmware_cfg.prompt_list import load_prompt_list

    size, windows = parse_size(image_size), parse_tiles(tiles)
    loaded = load_prompt_list(prompts)
    table = CountTable()
    cube = CubeOptions(wavelengths, variable, window)
    with ExitStack() as stack:
        frames = stack.enter_context(open_source(source, sequence=sequence, cube=cube))
        whereabouts = _whereabouts(camera, telemetry, frames, stack)
        model = load_bundle(bundle)
        pipeline = stack.enter_context(
            Pipeline(
                model,
                loaded,
                engine_name=engine.value,
                precision=precision.value,
                image_size=size,
                tiles=windows,
                locator=whereabouts.locator,
                threads=threads,
                independent=frames.independent,
            )
        )
        writer = None
        if record is not None:
            writer = open_recorder(record, model, frames, whereabouts.locator, wait=True)
            stack.enter_context(writer)
        gauge = DriftGauge(model.calibration)
        for result in count_frames(frames, pipeline, whereabouts):
            if as_json:
                typer.echo(json.dumps(frame_record(result), ensure_ascii=False))
            if writer is not None:
                writer.add(result)
            if result.scores.embedding is not None:
                gauge.take(result.scores.embedding)
            table.add(result)
        if as_json:
            return
        typer.echo("\n".join(table.lines(frames.skipped, whereabouts.refused())))
        if gauge.median is not None:
            typer.echo(drift_line(gauge.median))
        if writer is not None:
            writer.close()
            missing = f", without {writer.left_out} frames that it could not take" if writer.left_out else ""
            typer.echo(f"recorded in {writer.path}{missing}")


def _whereabouts(
    camera: str | None, telemetry: str | None, frames: FrameSource, stack: ExitStack
) -> Whereabouts:
    from edge.geo.options import camera_option, telemetry_option
    from edge.whereabouts import open_whereabouts

    if telemetry is not None and camera is None:
        raise UsageError("--telemetry tells no position without --camera, such as --camera hfov=69")
    lens = None if camera is None else camera_option(camera)
    return open_whereabouts(lens, None if telemetry is None else telemetry_option(telemetry), frames, stack)
