"""`remoteclip engine`: TensorRT engines of this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.commands.options import JsonOption, Precision, SizeOption, parse_size
from firmware_cfg.errors import EngineError, MissingExtra, UsageError

if TYPE_CHECKING:
    from edge.engines.tensorrt.choose import Choice

app = typer.Typer(name="engine", no_args_is_help=True, help="Build and list TensorRT engines.")


@app.callback()
def engine() -> None:
    """Build and list TensorRT engines."""


@app.command("build")
def build(
    bundle: Annotated[
        str | None, typer.Argument(metavar="[BUNDLE]", help="The bundle; default: the shipped one.")
    ] = None,
    device: Annotated[
        Path | None,
        typer.Option("--device", metavar="FILE", help="Device file: bundle, precision, size, workspace."),
    ] = None,
    precision: Annotated[
        Precision, typer.Option("--precision", help="auto: int8 and fp16, and the faster one is kept.")
    ] = Precision.auto,
    image_size: SizeOption = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build anew what is there.")] = False,
    aot: Annotated[
        list[str] | None,
        typer.Option(
            "--aot", metavar="SM", help="With tensorrt_rtx, for another GPU: sm86. May be repeated."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="PLAN", help="Where --aot writes its plan.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build this device's engines, time them, and keep the faster one that reproduces the golden vectors.

    Every size that may fly is built: --image-size, or what the device file or its prompt list says, or all
    sizes of the bundle. With --aot nothing runs: one plan is compiled ahead of time and written.
    """
    import json

    from edge.engine_build import BuildRequest, build_ahead, build_here, request_of

    if bool(aot) != (output is not None):
        raise UsageError("remoteclip engine build: --aot and -o PLAN go together")
    request: BuildRequest = request_of(bundle, device, precision.value, parse_size(image_size))
    if aot is not None and output is not None:
        written = build_ahead(request, aot, output)
        typer.echo(
            json.dumps(written) if as_json else "{plan}: {bytes} bytes, {precision} {size}".format(**written)
        )
        return
    choices = build_here(request, rebuild=rebuild)
    if as_json:
        typer.echo(json.dumps({"engines": [row for choice in choices for row in _rows(choice)]}))
    else:
        _print_choices(choices)


@app.command("list")
def list_engines(as_json: JsonOption = False) -> None:
    """Show the engines that are kept, and which of them this device can load."""
    import json

    from edge.engine_cache import EngineCache, stale_because

    cache = EngineCache()
    try:
        from edge.engines.tensorrt.choose import environment

        here = environment()
        unknown = ""
    except (EngineError, MissingExtra) as error:
        here, unknown = None, str(error)
    rows = []
    for record in cache.records():
        key = record.key
        state = f"cannot be loaded: {unknown}" if here is None else stale_because(record, here)
        rows.append(
            {
                "model": record.model,
                "bundle": key.bundle,
                "precision": key.precision if record.chosen is None else f"auto: {record.chosen}",
                "size": f"{key.image_size[0]}x{key.image_size[1]}",
                "gpu": f"{key.environment.gpu} sm{key.environment.compute_capability.replace('.', '')}",
                "library": f"{key.environment.library} {key.environment.library_version}",
                "p50_ms": None if record.latency is None else round(record.latency.p50, 2),
                "mib": round(record.plan_bytes / 2**20, 1),
                "built": record.created_at.isoformat(),
                "state": state or ("; ".join(record.problems) if record.problems else "ok"),
            }
        )
    if as_json:
        typer.echo(json.dumps({"folder": str(cache.folder), "engines": rows}))
    elif not rows:
        typer.echo(f"no engines in {cache.folder} (run: remoteclip engine build)")
    else:
        typer.echo(str(cache.folder))
        for row in rows:
            speed = "" if row["p50_ms"] is None else f", {row['p50_ms']} ms"
            typer.echo(
                f"{row['model']} {str(row['bundle'])[:12]} {row['precision']} {row['size']}: {row['gpu']},"
                f" {row['library']}, {row['mib']} MiB{speed}; {row['state']}"
            )


def _rows(choice: Choice) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for candidate in choice.candidates:
        record = candidate.record
        latency = None if record is None else record.latency
        rows.append(
            {
                "size": f"{choice.image_size[0]}x{choice.image_size[1]}",
                "precision": candidate.precision,
                "kept": candidate.precision == choice.chosen,
                "built_now": candidate.built,
                "build_seconds": None if record is None else record.build_seconds,
                "latency_ms": None if latency is None else latency.model_dump(),
                "problem": candidate.problem,
            }
        )
    return rows


def _print_choices(choices: list[Choice]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("size", "precision", "p50 ms", "p95", "p99", "build s", "")
    for choice in choices:
        for candidate in choice.candidates:
            record = candidate.record
            latency = None if record is None else record.latency
            figures = ("", "", "") if latency is None else (latency.p50, latency.p95, latency.p99)
            table.add_row(
                f"{choice.image_size[0]}x{choice.image_size[1]}",
                candidate.precision,
                *(value if isinstance(value, str) else f"{value:.2f}" for value in figures),
                "" if record is None else f"{record.build_seconds:.0f}",
                candidate.problem or ("kept" if candidate.precision == choice.chosen else ""),
            )
    Console().print(table)
