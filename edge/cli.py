"""The one command, `remoteclip`: its own subcommands, and the groups that other packages add to it.

Every subcommand imports what it works with only when it runs, so that `--help` answers at once and a drone
without torch still has the whole command.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edge.commands import (
    bridge,
    bundle,
    changes,
    check,
    count,
    demo,
    engine,
    health,
    prompts,
    run,
    search,
    watch,
)
from edge.logs import LogFormat, configure, report_error
from firmware_cfg.errors import RemoteclipError

GROUP = "remoteclip.commands"
DISTRIBUTION = "remoteclip-edge"


class RootGroup(TyperGroup):
    """Adds the entry points of `remoteclip.commands`, loaded when needed, and prints expected errors."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Own commands in their order, then the added groups by name."""
        return [*self.commands, *sorted(_added_groups().keys() - self.commands.keys())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """An own command, or a group loaded from its entry point."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = _added_groups().get(cmd_name)
        return None if entry is None else _load(entry)

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand; an expected error becomes its line on stderr and its exit code."""
        try:
            return super().invoke(ctx)
        except RemoteclipError as error:
            report_error(error)
            raise typer.Exit(error.exit_code) from error


def _added_groups() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(entry: EntryPoint) -> Any:
    """The command behind an entry point. One that does not load stays listed, and says why when used."""
    try:
        group = entry.load()
    except (ImportError, AttributeError) as error:
        return typer.main.get_command(_broken(entry, error))
    command = typer.main.get_command(group) if isinstance(group, typer.Typer) else group
    command.name = entry.name
    return command


def _broken(entry: EntryPoint, error: Exception) -> typer.Typer:
    group = typer.Typer(name=entry.name, add_completion=False)
    problem = (
        f"remoteclip {entry.name}: {entry.value} does not load: {error} (reinstall the package that adds it)"
    )

    @group.command(
        entry.name,
        help=f"Not available: {entry.value} does not load.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def fail() -> None:
        raise RemoteclipError(problem)

    return group


app = typer.Typer(
    name="remoteclip",
    cls=RootGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Counts and watches on board a drone for what a YAML file says in sentences; alerts over MQTT.",
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("check")(check.check)
app.command("count")(count.count)
app.command("search")(search.search)
app.command("changes")(changes.changes)
app.command("watch")(watch.watch)
app.command("health")(health.health)
app.add_typer(prompts.app, name="prompts")
app.add_typer(bundle.app, name="bundle")
app.add_typer(engine.app, name="engine")
app.add_typer(bridge.app, name="bridge")


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(version(DISTRIBUTION))
        except PackageNotFoundError:
            typer.echo("not installed (run from a checkout)")
        raise typer.Exit


@app.callback()
def root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens in detail.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option("--log-format", help="How the log looks; auto: the journal's under systemd, else text."),
    ] = LogFormat.auto,
) -> None:
    configure(log_format, verbose=verbose)


def main() -> None:
    """Entry point of the `remoteclip` script. Exit codes: 0 done, 1 failed, 2 used wrongly."""
    app(prog_name="remoteclip")


if __name__ == "__main__":
    main()
