"""Private keys for signing bundles: making them, and reading them. No secret reaches a message or a repr."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle.keys import KEY_NAME, check_id, key_id, not_a_key, read_key_file, time_text
from firmware_cfg.errors import ConfigError, RemoteclipError, UsageError

PRIVATE, PUBLIC = ".key", ".pub"
LONGEST_PASSPHRASE = 1023  # bytes; what cryptography takes


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key. Its repr shows no secret.

    Attributes:
        name: what its owner calls it.
        expires: from when on it signs no more; None: never.
        encrypted: whether its file needs a passphrase.
        exposed: whether its file can be read by others than its owner.
    """

    private: Ed25519PrivateKey = field(repr=False)
    name: str
    expires: datetime | None
    encrypted: bool
    exposed: bool = False

    @property
    def raw(self) -> bytes:
        """The public key's 32 bytes."""
        public = self.private.public_key()
        return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    @property
    def id(self) -> str:
        """The short name of the public key."""
        return key_id(self.raw)


def passphrase_from(variable: str | None, file: Path | None) -> bytes | None:
    """The passphrase in an environment variable, or in the first line of a file; None where neither is named.

    Raises UsageError, RemoteclipError; they never repeat what was read.
    """
    if variable is not None and file is not None:
        raise UsageError("--passphrase-env and --passphrase-file: give one of them")
    if variable is not None:
        found = os.environ.get(variable, "").encode("utf-8", "surrogateescape")
        where, problem = "--passphrase-env", f"{variable} is not set, or empty (export it)"
    elif file is not None:
        try:
            found = (file.read_bytes().splitlines() or [b""])[0]
        except OSError as error:
            raise RemoteclipError(f"--passphrase-file {file}: {error.strerror}") from error
        where, problem = f"--passphrase-file {file}", "its first line is empty (write the passphrase there)"
    else:
        return None
    if not found:
        raise RemoteclipError(f"{where}: {problem}")
    if len(found) > LONGEST_PASSPHRASE:
        raise RemoteclipError(f"{where}: longer than {LONGEST_PASSPHRASE} bytes (choose a shorter one)")
    return found


def generate_key(
    place: Path, *, days: int | None = None, passphrase: bytes | None = None, now: datetime | None = None
) -> tuple[Path, Path, SigningKey]:
    """Make a key pair: `place`.key, which only its owner can read, and `place`.pub. Never overwrites.

    Args:
        place: folder and name; a suffix .key or .pub is taken off.
        days: the key expires so many days from `now`; default: it never does.
        passphrase: encrypts the private key.

    Raises UsageError, RemoteclipError; nothing is left behind then.
    """
    stem = place.with_suffix("") if place.suffix in (PRIVATE, PUBLIC) else place
    if KEY_NAME.fullmatch(stem.name) is None:
        raise UsageError(
            f"{place}: a key's name has 1 to 64 of A-Z a-z 0-9 . _ - (choose another with --out)"
        )
    # Not with_suffix, which would take the end off field-2026.1.
    secret, public = (stem.with_name(stem.name + suffix) for suffix in (PRIVATE, PUBLIC))
    expires = None if days is None else whole_second(now) + timedelta(days=days)
    key = SigningKey(Ed25519PrivateKey.generate(), stem.name, expires, encrypted=passphrase is not None)
    how = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase)
    )
    pem = key.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    head = f"Name: {key.name}\nId: {key.id}\nExpires: {time_text(expires)}\n".encode()
    _write_new(secret, b"A private key of remoteclip-edge. Keep it off drones.\n" + head + pem, 0o600)
    try:
        pem = key.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _write_new(public, b"A public key of remoteclip-edge, for trusted_keys.\n" + head + pem, 0o644)
    except BaseException:
        secret.unlink()
        raise
    return secret, public, replace(key, exposed=_exposed(secret, key.encrypted))


def read_signing_key(path: Path, passphrase: bytes | None = None) -> SigningKey:
    """Read a private key. Raises ConfigError, which never repeats what the file or the passphrase holds."""
    file = read_key_file(path)
    if b" PUBLIC KEY-----" in file.pem:
        mend = f"name the private key, {path.stem}{PRIVATE}"
        raise ConfigError(str(path), file.line, 1, "this is a public key, which cannot sign", mend)
    encrypted = b"-----BEGIN ENCRYPTED" in file.pem
    if encrypted and passphrase is None:
        mend = "give --passphrase-env or --passphrase-file"
        raise ConfigError(str(path), file.line, 1, "this key has a passphrase", mend)
    try:
        private = serialization.load_pem_private_key(file.pem, passphrase if encrypted else None)
    # TypeError: locked in the old form, which has no Ed25519 keys; UnsupportedAlgorithm: a curve such as SM2.
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted and isinstance(error, ValueError):
            raise ConfigError(
                str(path), file.line, 1, "this is not its passphrase, or it is damaged"
            ) from error
        raise not_a_key(path, file, "private") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise not_a_key(path, file, "private")
    key = SigningKey(private, file.name, file.expires, encrypted, _exposed(path, encrypted))
    check_id(path, file, key.raw)
    return key


def whole_second(now: datetime | None) -> datetime:
    """`now`, or the clock's time, to the second: what a key file or a signature states."""
    return (now or datetime.now(timezone.utc)).replace(microsecond=0)


def _exposed(path: Path, encrypted: bool) -> bool:
    """Whether others may read an unencrypted private key; so on every file system without permissions."""
    return not encrypted and bool(path.stat().st_mode & 0o077)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet, readable as `mode` says from its first byte on."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        problem = "exists already, and keys are never overwritten (choose another name with --out)"
        raise RemoteclipError(f"{path}: {problem}") from error
    except OSError as error:
        raise RemoteclipError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException as error:
        path.unlink()
        if isinstance(error, OSError):
            raise RemoteclipError(f"{path}: cannot be written: {error.strerror}") from error
        raise
