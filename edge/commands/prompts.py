"""`remoteclip prompts`: lists tried on a clip, the one a device flies, and the way back to an earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands import prompts_tune
from edge.commands.options import JsonOption

app = typer.Typer(
    name="prompts", no_args_is_help=True, help="Tune, compare, show and roll back prompt lists."
)
app.command("tune")(prompts_tune.tune)
app.command("compare")(prompts_tune.compare)

DeviceArgument = Annotated[
    Path, typer.Argument(metavar="DEVICE.yaml", help="Device file; a daemon may be flying with it.")
]


@app.callback()
def prompts() -> None:
    """Tune, compare, show and roll back prompt lists."""


@app.command("show")
def show(device: DeviceArgument, as_json: JsonOption = False) -> None:
    """Tell the list in force and the earlier ones that are kept: hash, source, time and prompts."""
    import json

    from edge.prompts.shelf import FOLDER_NAME
    from edge.prompts.show import shelf_report
    from firmware_cfg.device import load_device

    found = load_device(device)
    report = shelf_report(Path(found.state_dir) / FOLDER_NAME, Path(found.prompts))
    typer.echo(json.dumps(report.as_dict()) if as_json else "\n".join(report.lines()))


@app.command("rollback")
def rollback(
    device: DeviceArgument,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="HASH", help="Beginning of its hash; default: the list before this one."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put an earlier list in force again: at once where a daemon flies, else with its next start."""
    import json

    from edge.prompts.rollback import roll_back
    from edge.prompts.shelf import FOLDER_NAME
    from firmware_cfg.device import load_device

    done = roll_back(Path(load_device(device).state_dir) / FOLDER_NAME, to)
    sha256, flying = done.chosen.sha256, done.flying
    if as_json:
        typer.echo(json.dumps({"sha256": sha256, "flying": flying}))
    else:
        typer.echo(f"{sha256[:12]} is in force{'' if flying else ' with the next start'}")
