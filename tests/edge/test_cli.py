"""The root of the command: added groups, expected errors in one line, and exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest
import typer
from typer.testing import CliRunner

from edge import cli
from firmware_cfg.errors import ConfigError, ConfigErrors, SourceError, UsageError

example_group = typer.Typer(help="A group that another package adds.")


@example_group.command("hello")
def say_hello() -> None:
    """Says hello."""
    typer.echo("hello from the added group")


@example_group.command("fail")
def fail_as_told(kind: str) -> None:
    """Fails."""
    problem = ConfigError("list.yaml", 3, 7, "is wrong", "mend it")
    raise {"usage": UsageError("used wrongly"), "source": SourceError("no camera")}.get(
        kind, ConfigErrors([problem, problem])
    )


@pytest.fixture
def runner_with_groups(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    entries = {
        "example": EntryPoint("example", f"{__name__}:example_group", cli.GROUP),
        "broken": EntryPoint("broken", "no_such_module_at_all:app", cli.GROUP),
    }
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(cli, "_added_groups", lambda: entries)
    return CliRunner()


def test_help_lists_own_commands_and_every_added_group(runner_with_groups: CliRunner) -> None:
    result = runner_with_groups.invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    for name in ("demo", "run", "check", "count", "watch", "bundle", "example", "broken"):
        assert name in result.stdout
    assert "A group that another package adds." in result.stdout
    assert "does not load" in result.stdout


def test_an_added_group_works(runner_with_groups: CliRunner) -> None:
    result = runner_with_groups.invoke(cli.app, ["example", "hello"])
    assert (result.exit_code, result.stdout) == (0, "hello from the added group\n")


@pytest.mark.parametrize("arguments", [[], ["bundle", "x", "-o", "y"], ["--flag"]])
def test_a_group_that_does_not_load_says_why(runner_with_groups: CliRunner, arguments: list[str]) -> None:
    result = runner_with_groups.invoke(cli.app, ["broken", *arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "remoteclip broken: no_such_module_at_all:app does not load: No module named"
    )
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "code", "lines"),
    [
        ("usage", 2, "used wrongly\n"),
        ("source", 1, "no camera\n"),
        ("config", 1, "list.yaml:3:7: is wrong (mend it)\n" * 2),
    ],
)
def test_an_expected_error_is_its_line_and_its_exit_code(
    runner_with_groups: CliRunner, kind: str, code: int, lines: str
) -> None:
    result = runner_with_groups.invoke(cli.app, ["example", "fail", kind])
    assert (result.exit_code, result.stderr, result.stdout) == (code, lines, "")


@pytest.mark.parametrize("arguments", [["no-such-command"], ["count"], ["--no-such-option"]])
def test_wrong_use_has_exit_code_2(runner_with_groups: CliRunner, arguments: list[str]) -> None:
    assert runner_with_groups.invoke(cli.app, arguments).exit_code == 2
