"""`remoteclip health`: whether the daemon of a device file flies, for scripts and for whoever stands by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import JsonOption


def health(
    device: Annotated[
        Path, typer.Argument(metavar="DEVICE.yaml", help="Device file of the daemon to look at.")
    ],
    max_age: Annotated[
        str,
        typer.Option("--max-age", metavar="TIME", help="Oldest sign of life, and oldest frame, that pass."),
    ] = "60s",
    as_json: JsonOption = False,
) -> None:
    """Tell how a daemon here is doing. Exit code 1 when it is stopped, killed, hung or gets no frames."""
    import json

    from edge.health.file import judge
    from firmware_cfg.device import load_device
    from firmware_cfg.errors import RemoteclipError

    verdict = judge(load_device(device).state_dir, _seconds(max_age))
    if as_json:
        record = None if verdict.record is None else verdict.record.model_dump(mode="json", by_alias=True)
        report = {"ok": verdict.ok, "line": verdict.line, "age_s": verdict.age_s, "record": record}
        typer.echo(json.dumps(report))
        raise typer.Exit(0 if verdict.ok else 1)
    if not verdict.ok:
        raise RemoteclipError(verdict.line)
    typer.echo(verdict.line)


def _seconds(text: str) -> float:
    from pydantic_core import PydanticCustomError

    from firmware_cfg.base import parse_duration
    from firmware_cfg.errors import UsageError

    try:
        return parse_duration(text)
    except PydanticCustomError as error:
        raise UsageError(f"--max-age must be a time such as 500ms, 30s or 2min, got {text!r}") from error
