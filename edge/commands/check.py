"""`remoteclip check`: prompt lists and device files, every problem with its line; or this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firmware_cfg.errors import ConfigError, UsageError


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Prompt lists and device files, in any mix."),
    ] = None,
    system: Annotated[bool, typer.Option("--system", help="Tell what this machine has to run on.")] = False,
    camera: Annotated[
        bool, typer.Option("--camera", help="Take a picture with the camera of each device file, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as one JSON object.")] = False,
) -> None:
    """Check configuration files, or this machine with --system. Exit code 1 when a file has a problem."""
    if system == bool(files):
        raise UsageError("remoteclip check: name the files to check, or --system")
    if system and camera:
        raise UsageError("remoteclip check: --camera needs a device file, which says where the camera is")
    if system:
        _check_system(as_json)
    else:
        _check_files(files or [], camera, as_json)


def _check_files(files: list[Path], camera: bool, as_json: bool) -> None:
    import json

    report = {path: _problems(path, camera) for path in files}
    if as_json:
        problems = [
            {"file": e.path, "line": e.line, "column": e.column, "problem": e.problem, "mend": e.mend}
            for errors in report.values()
            for e in errors
        ]
        typer.echo(json.dumps({"checked": len(report), "problems": problems}))
    else:
        for path, errors in report.items():
            typer.echo("\n".join(str(error) for error in errors) if errors else _good(path))
    if any(report.values()):
        raise typer.Exit(1)


def _good(path: Path) -> str:
    from firmware_cfg.check import remark_of

    remark = remark_of(path)
    return f"{path}: ok" if remark is None else f"{path}: ok, but {remark}"


def _problems(path: Path, camera: bool) -> list[ConfigError]:
    from edge.bundle.preflight import bundle_problem
    from firmware_cfg.check import check_file, is_device_file
    from firmware_cfg.device import load_device

    errors = check_file(path)
    if errors or not is_device_file(path):
        return errors
    found: dict[str, str | None] = {"its bundle would be refused": bundle_problem(path)}
    if camera:
        from edge.sources.reach import camera_problem

        found["its camera does not answer"] = camera_problem(load_device(path).source)
    return [ConfigError(str(path), 0, 0, f"{what}: {problem}") for what, problem in found.items() if problem]


def _check_system(as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from edge.system import system_facts

    facts = system_facts()
    if as_json:
        typer.echo(json.dumps({"facts": [asdict(fact) for fact in facts]}))
    else:
        width = max(len(fact.name) for fact in facts)
        for fact in facts:
            mend = f" ({fact.mend})" if fact.mend else ""
            typer.echo(f"{fact.level:<8}{fact.name:<{width + 2}}{fact.value}{mend}")
    if any(fact.level == "problem" for fact in facts):
        raise typer.Exit(1)
