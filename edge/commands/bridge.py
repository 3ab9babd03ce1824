"""`remoteclip bridge`: the fleet's alerts in what other control rooms speak."""

from __future__ import annotations

from pathlib import Path
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

DEFAULT_URL = "udp://239.2.3.1:6969"
"""Where ATAK, WinTAK and iTAK listen without a server."""

app = typer.Typer(no_args_is_help=True, help="Hand the fleet's alerts on to other control rooms.")


@app.callback()
def bridge() -> None:
    """Hand the fleet's alerts on to other control rooms."""


@app.command("cot")
def cot(
    broker: BrokerOption = DEFAULT_BROKER,
    to: Annotated[
        str,
        typer.Option(
            "--cot",
            metavar="URL",
            help="tcp://HOST:PORT, udp://HOST:PORT (multicast, too) or tls://HOST:PORT.",
        ),
    ] = DEFAULT_URL,
    cot_type: Annotated[
        str,
        typer.Option("--type", metavar="TYPE", help="Of an alert's marker; a-u-G: unknown, on the ground."),
    ] = "a-u-G",
    stale: Annotated[
        float,
        typer.Option("--stale", min=3, max=86400, help="Seconds after which an unheard-of marker fades."),
    ] = 120.0,
    client_id: Annotated[
        str,
        typer.Option(
            "--client-id",
            metavar="NAME",
            help="Of this bridge at the broker, which keeps for it what it misses.",
        ),
    ] = "remoteclip-bridge-cot",
    username: UsernameOption = None,
    password_env: PasswordEnvOption = None,
    password_file: PasswordFileOption = None,
    ca: CaOption = None,
    cot_ca: Annotated[
        Path | None, typer.Option("--cot-ca", metavar="FILE", help="Authority that signed the TAK server.")
    ] = None,
    cot_cert: Annotated[
        Path | None,
        typer.Option("--cot-cert", metavar="FILE", help="Certificate for the TAK server: PEM or .p12."),
    ] = None,
    cot_key: Annotated[
        Path | None, typer.Option("--cot-key", metavar="FILE", help="Its key (PEM); not for a .p12.")
    ] = None,
    cot_password_env: Annotated[
        str | None,
        typer.Option(
            "--cot-password-env",
            metavar="NAME",
            help="Environment variable with the password of the key or the .p12.",
        ),
    ] = None,
) -> None:
    """Show alerts as markers in TAK (Cursor on Target): raised, moved, removed. Ctrl-C ends it.

    Needs the extra `cot`. An alert without a position cannot be shown, and is logged.
    """
    from datetime import timedelta

    from edge.bridge.bridge import CotBridge
    from edge.bridge.server import TYPE_PATTERN, CotServer
    from edge.signals import stopped_by_signals
    from firmware_cfg.errors import UsageError

    if TYPE_PATTERN.fullmatch(cot_type) is None:
        raise UsageError(f"--type must be a Cursor-on-Target type such as a-u-G or a-h-G, got {cot_type!r}")
    hands_on = CotBridge(
        broker_settings(broker, username, password_env, password_file, ca),
        CotServer(to, cot_ca, cot_cert, cot_key, cot_password_env),
        client_id=client_id,
        cot_type=cot_type,
        stale=timedelta(seconds=stale),
    )
    with stopped_by_signals(lambda _name: hands_on.stop()):
        report = hands_on.run()
    typer.echo(
        f"{report.sent} events sent, {report.without_position} alerts without a position,"
        f" {report.dropped} dropped, {report.rejected} messages rejected"
    )
