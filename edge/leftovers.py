"""Files that a cache need not keep: left behind, or beyond its size, those not used for longest first."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Set
from pathlib import Path

_log = logging.getLogger(__name__)


def sweep(folder: Path, wanted: Set[str], suffixes: Set[str], older_than_s: float) -> None:
    """Remove files of a folder that are old enough for nobody to be writing them.

    Args:
        folder: it alone, not what lies below it.
        wanted: file names that stay.
        suffixes: such as ".plan"; files with any other stay too.
        older_than_s: seconds since they were last written.

    What cannot be removed is a warning. Raises OSError where the folder cannot be listed.
    """
    for path in folder.iterdir():
        if path.suffix not in suffixes or path.name in wanted:
            continue
        try:
            if time.time() - path.stat().st_mtime > older_than_s:
                path.unlink()
        except FileNotFoundError:  # another process removed it
            continue
        except OSError as error:
            _log.warning("%s: not removed: %s", path, error.strerror)


def shrink(folder: Path, suffix: str, most_bytes: int) -> None:
    """Remove files of a folder, those not used for longest first, until the rest takes at most `most_bytes`.

    Args:
        folder: it alone, not what lies below it.
        suffix: such as ".blob"; files with any other stay and are not counted.
        most_bytes: of the disk. Who has a file open keeps what is in it.

    What cannot be looked at or removed is a warning.
    """
    files: list[tuple[float, int, Path]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix) and entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    # Where a file system notes no reads, the time of writing must do.
                    used = max(found.st_atime, found.st_mtime)
                    files.append((used, max(found.st_blocks * 512, found.st_size), Path(entry.path)))
    except OSError as error:
        _log.warning("%s: cannot be tidied: %s", folder, error.strerror)
        return
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= most_bytes:
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s: not removed: %s", path, error.strerror)
            continue
        total -= size
