"""Who may write a shelf of prompt lists: one process at a time, told by a lock that dies with it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from firmware_cfg.errors import RemoteclipError

OWNER_NAME = "owner"
OWNER_PATIENCE_S = 2.0
"""How long a daemon waits for its turn: the command line owns a shelf for some milliseconds."""
_LOOK_S = 0.02


class ShelfError(RemoteclipError):
    """Prompt lists on disk are damaged, gone, or another process's."""


def become_owner(folder: Path, patience_s: float = OWNER_PATIENCE_S) -> int:
    """A descriptor that holds the lock until it is closed, by the end of the process too.

    Raises:
        ShelfError: another process still held it when `patience_s` seconds were over.
        OSError: the lock cannot be made.
    """
    descriptor = os.open(folder / OWNER_NAME, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    give_up = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                os.close(descriptor)
                raise ShelfError(
                    f"{folder}: another process owns these prompt lists"
                    " (one daemon a state_dir; stop the other one)"
                ) from None
            time.sleep(_LOOK_S)
        else:
            return descriptor


def is_owned(folder: Path) -> bool:
    """Whether a process owns the shelf in `folder` at this moment. Raises ShelfError: cannot tell."""
    try:
        descriptor = os.open(folder / OWNER_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ShelfError(f"{folder / OWNER_NAME}: cannot be read: {error.strerror}") from error
    try:
        # Shared, so that two who ask at once do not take each other for the owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
