"""Signing a bundle. What a drone believes is in edge/bundle/signature.py."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

from compile.signing_keys import SigningKey, whole_second
from edge.bundle.archive import SUFFIX, bundle_folder, pack
from edge.bundle.keys import PublicKey, time_text
from edge.bundle.load import Bundle, load_bundle
from edge.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME
from edge.bundle.signature import read_signature, signature_file, statement, vouch
from edge.files import write_atomically
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.errors import RemoteclipError, UsageError


def sign_bundle(
    path: str | Path,
    key: SigningKey,
    *,
    out: Path | None = None,
    days: int | None = None,
    now: datetime | None = None,
) -> Bundle:
    """Verify every byte of a bundle, then sign it; a good signature that was there is replaced.

    Args:
        path: see `load_bundle`; or an archive.
        key: what signs it.
        out: write a signed copy there instead: an archive if it ends in .tar, else a folder. Must not exist.
        days: the signature expires so many days from `now`; default: when the key does.

    Returns:
        The signed bundle; of an archive, its content, whose files are gone.

    Raises:
        BundleError: the bundle is damaged. Nothing is written.
        UsageError: the copy cannot be where it shall be, or the bundle cannot be signed in place.
        RemoteclipError: the key has expired, or the place cannot be written. Nothing is written then.
    """
    moment = whole_second(now)
    if key.expires is not None and moment >= key.expires:
        raise RemoteclipError(
            f"{key.name}: this key expired on {time_text(key.expires)}"
            " (make a new one with `remoteclip compile keygen`, and add it to trusted_keys)"
        )
    if out is not None and (out.exists() or out.is_symlink()):
        raise UsageError(f"{out}: exists already (choose another name with --out)")
    with bundle_folder(path) as folder:
        bundle = load_bundle(folder)
        if out is None:
            _expect_signable(path, bundle, archived=folder != path)
        text = statement(bundle.manifest_sha256, key.raw, key.name, moment, _end(key, moment, days))
        signature = signature_file(text, key.private.sign(text))
        try:
            if out is not None:
                return _signed_copy(bundle, signature, out, key, moment)
            write_atomically(bundle.file(SIGNATURE_NAME), signature)
        except OSError as error:
            place = out or bundle.path
            raise RemoteclipError(f"{place}: cannot be written: {error.strerror}") from error
        return _vouched(bundle, key, moment)


def _end(key: SigningKey, moment: datetime, days: int | None) -> datetime | None:
    if days is None:
        return key.expires
    end = moment + timedelta(days=days)
    return end if key.expires is None else min(end, key.expires)


def _signed_copy(bundle: Bundle, signature: bytes, out: Path, key: SigningKey, moment: datetime) -> Bundle:
    partial = Path(mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        for name in (MANIFEST_NAME, *bundle.manifest.files):
            shutil.copyfile(bundle.file(name), partial / name)
        write_atomically(partial / SIGNATURE_NAME, signature)
        signed = _vouched(load_bundle(partial), key, moment)
        if out.suffix == SUFFIX:
            pack(signed, out)
        else:
            partial.chmod(0o755)
            os.rename(partial, out)
        return replace(signed, path=out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _vouched(bundle: Bundle, key: SigningKey, moment: datetime) -> Bundle:
    """The bundle with what a drone that trusts the key thinks of the signature that lies there now."""
    signature = read_signature(bundle.path, bundle.manifest_sha256)
    return replace(bundle, voucher=vouch(signature, [PublicKey(key.raw, key.name, key.expires)], moment))


def _expect_signable(path: str | Path, bundle: Bundle, *, archived: bool) -> None:
    if archived:
        raise UsageError(f"{path}: an archive is not signed in place (name a signed copy with --out)")
    if bundle.path.resolve() == default_bundle_path().resolve():
        raise UsageError(f"{path}: the shipped bundle stays as it is (name a signed copy with --out)")
