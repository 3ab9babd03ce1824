"""`remoteclip compile keygen`: a key pair for signing bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import JsonOption

PassphraseEnv = Annotated[
    str | None,
    typer.Option("--passphrase-env", metavar="NAME", help="Environment variable that holds the passphrase."),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="File whose first line is the passphrase."),
]


def keygen(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="NAME", help="Writes NAME.key and NAME.pub.")],
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="The key expires then; default: never.")
    ] = None,
    passphrase_env: PassphraseEnv = None,
    passphrase_file: PassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key pair for signing bundles: NAME.key stays with you, NAME.pub goes onto the drones.

    Nothing is overwritten. To change keys, list the old and the new NAME.pub in a device file's trusted_keys,
    sign with the new one, and take the old one out once every drone has a bundle signed by the new.
    """
    import json
    import sys

    from compile.signing_keys import generate_key, passphrase_from
    from edge.bundle.keys import time_text

    passphrase = passphrase_from(passphrase_env, passphrase_file)
    secret, public, key = generate_key(out, days=days, passphrase=passphrase)
    if key.exposed:
        print(f"{secret}: others can read it, this file system keeps no permissions", file=sys.stderr)
    if as_json:
        facts = {"key_id": key.id, "name": key.name, "private": str(secret), "public": str(public)}
        expires = None if key.expires is None else time_text(key.expires)
        print(json.dumps({**facts, "expires_at": expires, "encrypted": key.encrypted}))
        return
    lock = "needs the passphrase" if key.encrypted else "not encrypted: whoever reads it can sign"
    print(f"{secret}: the private key, {lock}")
    print(f"{public}: the public key {key.id}, expires: {time_text(key.expires)}")
    print(f"On the drone: require_signature: true, trusted_keys: [{public.name}]")
