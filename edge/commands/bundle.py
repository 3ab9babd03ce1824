"""`remoteclip bundle`: what the model bundle on this device is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import EngineName, JsonOption, ThreadsOption

app = typer.Typer(name="bundle", no_args_is_help=True, help="Verify model bundles.")


@app.callback()
def bundle() -> None:
    """Verify model bundles."""


@app.command("verify")
def verify(
    path: Annotated[
        str, typer.Argument(metavar="[BUNDLE]", help="Its folder or archive; default: the shipped one.")
    ] = "default",
    engine: Annotated[
        list[EngineName] | None,
        typer.Option("--engine", help="May be repeated; default: openvino."),
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--key",
            metavar="FILE.pub",
            help="May be repeated; one of these keys must have signed the bundle.",
        ),
    ] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check hashes and signature, then run the golden vectors on this machine. Exit code 1 if any is off."""
    import json

    from edge.verify import verify_bundle

    report = verify_bundle(
        path, [name.value for name in engine] if engine else None, threads, trusted_keys=keys or ()
    )
    if as_json:
        typer.echo(json.dumps(report.as_dict()))
    else:
        manifest = report.bundle.manifest
        typer.echo(f"{report.name}: {manifest.model}, {len(manifest.files)} files as the manifest says")
        typer.echo(f"manifest {report.bundle.manifest_sha256}")
        typer.echo(report.signature)
        for check in report.golden:
            largest = ", ".join(f"{name} {value:.2g}" for name, value in check.differences.items())
            places = f"; {check.places - check.missing} of {check.places} places" if check.places else ""
            measured = f" ({largest}{places})" if largest else ""
            typer.echo(f"{check.engine} {check.precision}: {'off' if check.problems else 'ok'}{measured}")
        for sentence in report.regressions:
            typer.echo(f"lost when this bundle was made, and let pass: {sentence}")
        for problem in report.problems:
            typer.echo(problem, err=True)
    if not report.ok:
        raise typer.Exit(1)
