"""`remoteclip demo`: the whole way from frames to a subscriber's screen, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import BundleOption


def demo(
    headless: Annotated[
        bool,
        typer.Option("--headless", help="No live table, no page, no pacing; so too without a terminal."),
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, help="Stop after this much of the recording.")
    ] = None,
    source: Annotated[
        str, typer.Option("--source", help="A video or folder; `demo` is a flight over a forest edge.")
    ] = "demo",
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="Prompt list; default: trees.")
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder for the video and the contact sheet.")] = Path(
        "runs"
    ),
    bundle: BundleOption = "default",
    as_json: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
) -> None:
    """Start a broker, fly, show the alerts as a subscriber received them, and sum up.

    On a terminal, the control room's page is served beside the flight (extra `console`).
    """
    import json
    import logging
    import sys

    from edge.demo.heard import sentence
    from edge.demo.session import DEFAULT_PROMPTS, DemoPlan, fly

    log = logging.getLogger()
    if log.level == logging.INFO:  # the events are shown as they are received: once is enough
        log.setLevel(logging.WARNING)
    live = not headless and not as_json and sys.stdout.isatty()
    plan = DemoPlan(
        source=source,
        runs=runs,
        prompts=prompts or DEFAULT_PROMPTS,
        seconds=seconds,
        realtime=live,
        bundle=bundle,
    )
    if live:
        from edge.demo.live import control_room

        result = fly(plan, lambda event: None, control_room)
    else:
        result = fly(plan, lambda event: typer.echo(sentence(event), err=as_json))
    for line in result.lines():
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(result.as_dict()))
