"""`remoteclip watch`: the control room's terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"


def watch(
    broker: Annotated[
        str, typer.Option("--broker", metavar="URL", help="mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS.")
    ] = DEFAULT_BROKER,
    username: Annotated[str | None, typer.Option("--username", help="User name at the broker.")] = None,
    password_env: Annotated[
        str | None,
        typer.Option("--password-env", metavar="NAME", help="Environment variable with the password."),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="File with the password.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="Authority that signed the broker; default: the system's."),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.1, help="Stop after this long.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a message.")] = False,
) -> None:
    """Show every device, its counts and its active alerts, live. Ctrl-C ends it.

    Exit code 1 when there never was a connection.
    """
    from dataclasses import replace

    import edge.watch
    from edge.mqtt.settings import BrokerSettings
    from firmware_cfg.errors import BrokerError, UsageError

    if username is None and (password_env or password_file):
        raise UsageError("a password needs --username beside it")
    if password_env and password_file:
        raise UsageError("--password-env and --password-file: keep one of them")
    # Never the value: whoever takes these for the password itself writes it there.
    if password_env and not os.environ.get(password_env):
        raise UsageError("--password-env must name an environment variable that is set (export it)")
    if password_file and not password_file.exists():
        raise UsageError("--password-file must name a file that exists, with the password in its first line")
    if ca and not ca.exists():
        raise UsageError(f"--ca {ca}: there is no such file (name the broker's authority, a PEM file)")
    try:
        found = BrokerSettings.from_url(broker)
    except BrokerError as error:
        raise UsageError(f"--broker: {error}") from error
    settings = replace(
        found,
        username=username,
        password_env=password_env,
        password_file=password_file,
        ca=ca,
    )
    edge.watch.watch(settings, json_lines=as_json, seconds=seconds)
