"""Small file habits shared by the edge: hashing, writing atomically, and where caches lie."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

# What numpy lets through from a damaged archive, when it is opened and when an array is read.
UNREADABLE_NPZ = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)

_CHUNK = 1 << 20
_log = logging.getLogger(__name__)


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def open_npz(path: Path) -> NpzFile:
    """Open an .npz archive, a context manager, without ever unpickling. Raises one of UNREADABLE_NPZ."""
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, NpzFile):
        raise ValueError("one array, not an archive of arrays")
    return archive


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that a reader, or a power cut, meets the old file or the new one and nothing between.

    After a power cut it may be the old one; where it must not, `sync_folder` comes after it.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; the old file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        # "x" and the process's umask give the file the mode that a plain open would.
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Let names in a folder outlast a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_folder(name: str) -> Path | None:
    """The folder `name` under this user's cache, made if needed.

    `REMOTECLIP_CACHE` names another root; otherwise `$XDG_CACHE_HOME/remoteclip`, or `~/.cache/remoteclip`.

    Returns:
        None, with a logged warning, where there is no writable place: no cache is ever required.
    """
    try:
        if root := os.environ.get("REMOTECLIP_CACHE"):
            folder = Path(root)
        elif root := os.environ.get("XDG_CACHE_HOME"):
            folder = Path(root) / "remoteclip"
        else:
            folder = Path.home() / ".cache" / "remoteclip"
        folder = folder / name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a service account without a home
        _log.warning("no cache for %s: %s (set REMOTECLIP_CACHE to a writable folder)", name, error)
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        _log.warning(
            "no cache for %s: %s is not writable (set REMOTECLIP_CACHE to a writable folder)", name, folder
        )
        return None
    return folder
