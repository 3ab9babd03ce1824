"""Key files: Ed25519 keys in PEM, with a name and an expiry in the lines above the key.

RFC 7468 lets text stand before `-----BEGIN`, so every other program reads these files as plain PEM. A plain
PEM file of another program is read here, too: it never expires, and the file's name is its name.

    Name: field-2026
    Id: 5c9e1a2b3c4d5e6f
    Expires: 2027-11-23T09:00:00Z
    -----BEGIN PUBLIC KEY-----
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from firmware_cfg.errors import ConfigError

NEVER = "never"
FIELDS = ("Name", "Id", "Expires")
BEGIN = "-----BEGIN "
KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_FIELD = re.compile(r"([A-Za-z]+):\s*(.*)")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_LIMIT = 1 << 16  # bytes; a real one has a few hundred


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may sign bundles.

    Attributes:
        raw: its 32 bytes.
        name: what its owner calls it.
        expires: from when on nothing that it signed is accepted; None: never.
    """

    raw: bytes
    name: str
    expires: datetime | None = None

    def __str__(self) -> str:
        return f"{self.name} (key {key_id(self.raw)})"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a key file says before the key itself is read; `id` is None where it does not say."""

    name: str
    id: str | None
    expires: datetime | None
    pem: bytes
    line: int  # where the PEM part begins


def key_id(raw: bytes) -> str:
    """The short name of a public key: the first 16 hex digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(raw).hexdigest()[:16]


def time_text(time: datetime | None) -> str:
    """`2027-11-23T09:00:00Z`, or `never` for None. `time` is aware."""
    return NEVER if time is None else time.astimezone(timezone.utc).strftime(_TIME)


def parse_time(text: str) -> datetime | None:
    """Inverse of `time_text`; takes that form only. Raises ValueError."""
    if text == NEVER:
        return None
    time = datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc)
    if time_text(time) != text:  # strptime also takes 2027-1-3T9:0:0Z
        raise ValueError("not in the form 2027-11-23T09:00:00Z")
    return time


def read_public_key(path: Path) -> PublicKey:
    """Read a trusted key. Raises ConfigError, which never repeats what the file holds."""
    file = read_key_file(path)
    if b" PRIVATE KEY-----" in file.pem:
        raise ConfigError(
            str(path),
            file.line,
            1,
            "this is a private key, which belongs to no drone",
            "name its .pub file; whoever could read this one can sign",
        )
    try:
        key = serialization.load_pem_public_key(file.pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise not_a_key(path, file, "public")
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    check_id(path, file, raw)
    return PublicKey(raw, file.name, file.expires)


def read_key_file(path: Path) -> KeyFile:
    """The lines above the key, and the PEM part. Raises ConfigError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LIMIT + 1)
    except OSError as error:
        raise ConfigError(
            str(path), 0, 0, f"cannot be read: {error.strerror}", "name a key file of `compile keygen`"
        ) from error
    # What is not text is no key either; it stays readable enough to be told apart below.
    text = data.decode("ascii", errors="replace")
    lines = text.splitlines()
    begins = [number for number, line in enumerate(lines, start=1) if line.startswith(BEGIN)]
    if len(data) > _LIMIT or len(begins) != 1:
        problem = "holds more than one key" if len(begins) > 1 else "is no key in PEM form"
        raise ConfigError(str(path), 0, 0, problem, "name a key file of `remoteclip compile keygen`")
    (begin,) = begins
    found: dict[str, str] = {}
    name, expires = _plain_name(path), None
    for number, line in enumerate(lines[: begin - 1], start=1):
        match = _FIELD.fullmatch(line)
        if match is None:
            continue
        field, value = match[1], match[2].strip()
        if field not in FIELDS or field in found:
            problem = f"{field} stands here twice" if field in found else f"unknown field {field}"
            raise ConfigError(str(path), number, 1, problem, f"the fields are {', '.join(FIELDS)}")
        found[field] = value
        if field == "Name":
            name = _name(path, number, value)
        elif field == "Expires":
            expires = _expiry(path, number, value)
    pem = "\n".join([*lines[begin - 1 :], ""]).encode()
    return KeyFile(name, found.get("Id"), expires, pem, begin)


def check_id(path: Path, file: KeyFile, raw: bytes) -> None:
    """Whether the file's id is that of its key. Raises ConfigError."""
    if file.id is not None and file.id != key_id(raw):
        raise ConfigError(
            str(path), 0, 0, f"its key is {key_id(raw)}, but it says Id: {file.id}", "copy the file again"
        )


def not_a_key(path: Path, file: KeyFile, kind: str) -> ConfigError:
    """The error for a file that holds something else than an Ed25519 key of this kind."""
    mend = "name a key file of `remoteclip compile keygen`"
    return ConfigError(str(path), file.line, 1, f"is no Ed25519 {kind} key", mend)


def _plain_name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)[:64]
    return name if KEY_NAME.fullmatch(name) else "key"


def _name(path: Path, number: int, value: str) -> str:
    if KEY_NAME.fullmatch(value) is None:
        mend = "1 to 64 letters, digits, dots, dashes or underscores, the first one a letter or digit"
        raise ConfigError(str(path), number, 1, "Name is no name of a key", mend)
    return value


def _expiry(path: Path, number: int, value: str) -> datetime | None:
    try:
        return parse_time(value)
    except ValueError as error:
        mend = f"write UTC as 2027-11-23T09:00:00Z, or {NEVER}"
        raise ConfigError(str(path), number, 1, "Expires is no time", mend) from error
