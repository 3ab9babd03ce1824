"""`remoteclip changes`: what appeared and what vanished between two flights over one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import JsonOption


def changes(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Recorded run of the earlier flight.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Recorded run of the later flight.")],
    page: Annotated[
        Path | None,
        typer.Option("-o", "--page", metavar="FILE", help="Write a page with the pictures side by side."),
    ] = None,
    telemetry: Annotated[
        bool, typer.Option(help="Match by telemetry where both runs have it, else by pictures.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """List what only one of two flights over one place shows, prompt by prompt, surest first.

    Nothing is said of ground that only one of them saw, nor of prompts that only one of them looked for.
    """
    from edge.files import write_atomically
    from edge.runs.changes import report
    from edge.runs.changes.compare import compare_runs
    from edge.runs.reader import Run
    from firmware_cfg.errors import SourceError, UsageError

    if page is not None and not page.parent.is_dir():
        raise UsageError(f"-o {page}: no such folder {page.parent} (make it first)")
    with Run(first) as a, Run(second) as b:
        result = compare_runs(a, b, use_telemetry=telemetry)
        if page is not None:
            try:
                write_atomically(page, report.page(result, a, b).encode())
            except OSError as error:
                raise SourceError(
                    f"{page}: cannot be written: {error.strerror} (name another file)"
                ) from error
    typer.echo(report.as_json(result) if as_json else "\n".join(report.lines(result)))
