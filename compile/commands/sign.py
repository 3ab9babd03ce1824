"""`remoteclip compile sign`: say with a key that a bundle is yours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compile.commands.keygen import PassphraseEnv, PassphraseFile
from edge.commands.options import JsonOption


def sign(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Bundle folder, archive, or `default`.")],
    key: Annotated[Path, typer.Option("--key", metavar="NAME.key", help="Private key of `keygen`.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write a signed copy: a folder, or an archive if it ends in .tar. Default: in place.",
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36500, help="The signature expires then; default: when the key does."),
    ] = None,
    passphrase_env: PassphraseEnv = None,
    passphrase_file: PassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Verify every byte of a bundle and sign it, so that drones that trust the key take it."""
    import json
    import sys

    from compile.sign import sign_bundle
    from compile.signing_keys import passphrase_from, read_signing_key
    from edge.bundle.keys import time_text

    signing_key = read_signing_key(key, passphrase_from(passphrase_env, passphrase_file))
    if signing_key.exposed:
        print(f"{key}: others can read this private key (chmod 600 {key})", file=sys.stderr)
    signed = sign_bundle(bundle, signing_key, out=out, days=days)
    ends = time_text(signed.voucher.ends)
    if as_json:
        facts = {"bundle": str(signed.path), "manifest_sha256": signed.manifest_sha256}
        who = {"key_id": signing_key.id, "name": signing_key.name}
        print(json.dumps({**facts, **who, "expires_at": None if signed.voucher.ends is None else ends}))
        return
    print(f"{signed.path}: signed by {signing_key.name} (key {signing_key.id}), expires: {ends}")
    print(f"manifest {signed.manifest_sha256}")
