"""`remoteclip console`: serves the control room's page, and keeps the users who may see it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.commands.options import (
    DEFAULT_BROKER,
    BrokerOption,
    CaOption,
    JsonOption,
    PasswordEnvOption,
    PasswordFileOption,
    UsernameOption,
    broker_settings,
)

if TYPE_CHECKING:
    from console.accounts import Accounts

DEFAULT_DATA = Path("~/.local/share/remoteclip/console")

DataOption = Annotated[
    Path, typer.Option("--data", metavar="FOLDER", help="Where history and users are kept.")
]

app = typer.Typer(help="Serve the control room's page: the fleet, its alerts, their pictures, its prompts.")
user_app = typer.Typer(no_args_is_help=True, help="Who may see the page, and who may act.")
app.add_typer(user_app, name="user")


@app.callback(invoke_without_command=True)
def console(
    context: typer.Context,
    broker: BrokerOption = DEFAULT_BROKER,
    username: UsernameOption = None,
    password_env: PasswordEnvOption = None,
    password_file: PasswordFileOption = None,
    ca: CaOption = None,
    client_id: Annotated[
        str,
        typer.Option(
            "--client-id",
            metavar="NAME",
            help="Of this console at the broker, which keeps for it what it misses.",
        ),
    ] = "remoteclip-console",
    host: Annotated[str, typer.Option("--host", help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any that is free.")] = 8080,
    data: DataOption = DEFAULT_DATA,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate of the page (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key (PEM).")] = None,
    tiles: Annotated[
        str | None,
        typer.Option("--tiles", metavar="URL", help="Map tiles, with {z}, {x}, {y}; default: a graticule."),
    ] = None,
    insecure_http: Annotated[
        bool,
        typer.Option("--insecure-http", help="Serve other machines without TLS: behind a proxy that has it."),
    ] = False,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=1, max=3650, help="Age at which history goes.")
    ] = 90.0,
    keep_mib: Annotated[
        int, typer.Option("--keep-mib", min=16, max=1 << 20, help="Size beyond which the oldest goes.")
    ] = 1024,
) -> None:
    """Serve the page until Ctrl-C. Needs the extra `console`.

    Beyond this machine it wants TLS (--tls-cert, --tls-key). Nobody can log in before a user was added:
    `remoteclip console user add NAME --role operator`.
    """
    if context.invoked_subcommand is not None:
        return
    from console.serve import Address, serve
    from console.services import Settings

    address = Address.checked(host, port, tls_cert, tls_key, insecure_http=insecure_http)
    settings = broker_settings(broker, username, password_env, password_file, ca)
    serve(
        settings,
        address,
        data.expanduser(),
        Settings(
            broker=str(settings.address),
            tiles=checked_tiles(tiles),
            secure=address.tls_cert is not None,
            insecure_http=insecure_http,
        ),
        client_id=client_id,
        keep_days=keep_days,
        keep_bytes=keep_mib << 20,
    )


@user_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="1 to 64 of: a-z 0-9 _ -")],
    role: Annotated[str, typer.Option("--role", help="viewer (looks) or operator (acts).")],
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="First line: the password; default: asked for."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Let somebody in, or give one another role and password."""
    password = (
        typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        if password_file is None
        else _first_line(password_file)
    )
    accounts = _accounts(data)
    accounts.add(name, role, password)
    typer.echo(f"{name} may come in as {role} ({accounts.path})")


@user_app.command("remove")
def remove(name: Annotated[str, typer.Argument()], data: DataOption = DEFAULT_DATA) -> None:
    """Let somebody in no more; who is logged in is logged out."""
    _accounts(data).remove(name)
    typer.echo(f"{name} may come in no more")


@user_app.command("list")
def list_users(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """Who may come in."""
    import json

    users = _accounts(data).list()
    if as_json:
        typer.echo(json.dumps([{"name": user.name, "role": user.role} for user in users]))
    else:
        for user in users:
            typer.echo(f"{user.role:9} {user.name}")


def checked_tiles(url: str | None) -> str | None:
    """The address of a tile server. Raises UsageError."""
    from urllib.parse import urlsplit

    from firmware_cfg.errors import UsageError

    if url is None:
        return None
    parts = urlsplit(url)
    wanted = all(each in url for each in ("{z}", "{x}", "{y}"))
    if parts.scheme not in ("http", "https") or not parts.hostname or not wanted or "@" in parts.netloc:
        raise UsageError("--tiles must be http(s)://HOST/... with {z}, {x} and {y}, without a login")
    if any(character in url for character in " ;,'\"<>\\\r\n"):  # it becomes part of the page's policy
        raise UsageError("--tiles must not hold spaces, quotes, commas or semicolons (write them as %XX)")
    return url


def _accounts(data: Path) -> Accounts:
    from console.serve import open_accounts

    return open_accounts(data.expanduser())


def _first_line(path: Path) -> str:
    from firmware_cfg.errors import UsageError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"--password-file {path}: {reason} (make it a readable text file)") from None
    if not lines or not lines[0]:
        raise UsageError(f"--password-file {path}: its first line is empty (write the password there)")
    return lines[0]
