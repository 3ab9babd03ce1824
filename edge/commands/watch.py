"""`remoteclip watch`: the control room's terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.commands.options import (
    DEFAULT_BROKER,
    BrokerOption,
    CaOption,
    PasswordEnvOption,
    PasswordFileOption,
    UsernameOption,
    broker_settings,
)


def watch(
    broker: BrokerOption = DEFAULT_BROKER,
    username: UsernameOption = None,
    password_env: PasswordEnvOption = None,
    password_file: PasswordFileOption = None,
    ca: CaOption = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.1, help="Stop after this long.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a message.")] = False,
) -> None:
    """Show every device, its counts and its active alerts, live. Ctrl-C ends it.

    Exit code 1 when there never was a connection.
    """
    import edge.watch

    settings = broker_settings(broker, username, password_env, password_file, ca)
    edge.watch.watch(settings, json_lines=as_json, seconds=seconds)
