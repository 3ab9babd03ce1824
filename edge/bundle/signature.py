"""Signatures of bundles: Ed25519 over a statement that names the manifest's SHA-256, and whom to believe.

The file `signature` is seven lines of text. The last one signs the bytes before it, as
`openssl pkeyutl -verify -rawin` can confirm:

    remoteclip-edge bundle signature 1
    manifest: <SHA-256 of manifest.json, which in turn names every file's>
    key: <the public key's 32 bytes>
    name: field-2026
    signed: 2026-11-23T09:00:00Z
    expires: never
    signature: <64 bytes>

The key stands in it so that damage is found, and told from an unknown key, without knowing any key. That is
no reason for trust: trust is given only to the keys that the device file names.

**Expiry on a drone whose clock may not be set.** The time is what the clock says, but never before the moment
of signing that the signature states. So a drone that starts in 1970 flies what was signed in time, and one
that knows the date refuses what has expired. The other side of it: a clock that runs behind lets an expired
key pass. What must end at once, a stolen key, ends by taking it out of the device file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.bundle.keys import PublicKey, key_id, parse_time, time_text
from edge.bundle.manifest import COPY_AGAIN, MANIFEST_NAME, SIGNATURE_NAME
from firmware_cfg.errors import BundleError

SOON = timedelta(days=30)
"""How long before a signature ends its end is a warning."""

_TITLE = "remoteclip-edge bundle signature "
_MEND = f"{COPY_AGAIN}; if it is your own, remove its signature and sign it again"
_LIMIT = 4096  # bytes; a real one has fewer than 600
_FORM = re.compile(
    rf"(?P<statement>{_TITLE}1\n"
    r"manifest: (?P<manifest>[0-9a-f]{64})\n"
    r"key: (?P<key>[0-9a-f]{64})\n"
    r"name: (?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})\n"
    r"signed: (?P<signed>\S+)\n"
    r"expires: (?P<expires>\S+)\n)"
    r"signature: (?P<signature>[0-9a-f]{128})\n"
)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that fits its own key and the manifest beside it.

    Attributes:
        key: the public key's 32 bytes.
        name: what the signer calls that key; a claim, until a trusted key file says the same.
        signed: when, as the signer says.
        expires: from when on the signer vouches no more, at the latest when the key expires; None: never.
    """

    key: bytes
    name: str
    signed: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Voucher:
    """Who vouches for a manifest.

    Attributes:
        signature: its signature, or None.
        trusted: the trusted key that made the signature, or None.
        sentence: all of this in words.
        refusal: why it will not do where a trusted signature is required, with the mend; empty if it does.
        ends: when the signature or its trusted key expires, whichever is first; None: never.
        ends_soon: whether that is less than SOON away.
    """

    signature: Signature | None
    trusted: PublicKey | None
    sentence: str
    refusal: str
    ends: datetime | None = None
    ends_soon: bool = False


def statement(
    manifest_sha256: str, key: bytes, name: str, signed: datetime, expires: datetime | None
) -> bytes:
    """What is signed: all lines of a signature file but the last."""
    return (
        f"{_TITLE}1\nmanifest: {manifest_sha256}\nkey: {key.hex()}\nname: {name}\n"
        f"signed: {time_text(signed)}\nexpires: {time_text(expires)}\n"
    ).encode()


def signature_file(signed_statement: bytes, signature: bytes) -> bytes:
    """A whole signature file."""
    return signed_statement + f"signature: {signature.hex()}\n".encode()


def read_signature(folder: Path, manifest_sha256: str) -> Signature | None:
    """The signature of the bundle in `folder`, whose manifest.json has this hash; None if it has none.

    Raises:
        BundleError: the signature is damaged, or the manifest was changed afterwards. Names the file.
    """
    path = folder / SIGNATURE_NAME
    try:
        with path.open("rb") as stream:
            data = stream.read(_LIMIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    match = _FORM.fullmatch(data.decode("ascii", errors="replace"))
    if match is None:
        raise BundleError(f"{path}: {_wrong_form(data)}")
    key = bytes.fromhex(match["key"])
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(
            bytes.fromhex(match["signature"]), match["statement"].encode()
        )
        signed, expires = parse_time(match["signed"]), parse_time(match["expires"])
    except (InvalidSignature, ValueError) as error:
        raise BundleError(
            f"{path}: does not fit the key that it names: damaged or forged ({_MEND})"
        ) from error
    if signed is None:
        raise BundleError(f"{path}: does not say when it was signed ({_MEND})")
    if match["manifest"] != manifest_sha256:
        raise BundleError(
            f"{folder / MANIFEST_NAME}: SHA-256 is {manifest_sha256}, but {match['manifest']} was signed"
            f" (the manifest was changed afterwards: {_MEND})"
        )
    return Signature(key, match["name"], signed, expires)


def vouch(signature: Signature | None, trusted: Sequence[PublicKey], now: datetime | None = None) -> Voucher:
    """Judge a signature by the trusted keys at the time `now` (aware; default: the clock's)."""
    if signature is None:
        mend = "sign it: remoteclip compile sign BUNDLE --key KEY"
        return Voucher(None, None, "unsigned", f"unsigned, but a signature is required ({mend})")
    clock = now or datetime.now(timezone.utc)
    time = max(clock, signature.signed)
    key = next((key for key in trusted if key.raw == signature.key), None)
    ends, what = _end(signature, key)
    expired = ends is not None and time >= ends
    end = f"; {what} expired on {time_text(ends)}" if expired else f", valid until {time_text(ends)}"
    when = time_text(signature.signed) + (end if ends is not None else "")
    if key is None:
        known = (
            f"the trusted keys are {', '.join(map(str, trusted))}" if trusted else "no key is trusted here"
        )
        who = (
            f"signed by key {key_id(signature.key)}, which calls itself {signature.name}, on {when}; {known}"
        )
        mend = "sign it with a trusted key, or add this one to trusted_keys"
        return Voucher(signature, None, who, f"{who} ({mend})", ends)
    who = f"signed by {key}, which is trusted, on {when}"
    if expired:
        mend = f"sign it again with a key that is valid; the clock here says {time_text(clock)}"
        return Voucher(signature, key, who, f"{who} ({mend})", ends)
    return Voucher(signature, key, who, "", ends, ends is not None and ends - time < SOON)


def _end(signature: Signature, key: PublicKey | None) -> tuple[datetime | None, str]:
    """When the signature or its trusted key expires, and which of the two does first."""
    if key is None or key.expires is None:
        return signature.expires, "the signature"
    if signature.expires is None or key.expires <= signature.expires:
        return key.expires, "the key"
    return signature.expires, "the signature"


def _wrong_form(data: bytes) -> str:
    title = data.partition(b"\n")[0].decode("ascii", errors="replace")
    version = title.removeprefix(_TITLE)
    if version != title and version.isdigit() and int(version) > 1:
        return f"version {int(version)} is newer than this release reads (1): update remoteclip-edge"
    return f"no signature of `remoteclip compile sign`: damaged ({_MEND})"
