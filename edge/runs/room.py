"""How much of the disk recorded runs take: the oldest go first."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from edge.runs.format import SUFFIX, is_run

LIVE_S = 300.0
"""A run whose journal was written to within as many seconds belongs to a writer that lives."""

_log = logging.getLogger(__name__)


def make_room(folder: Path, most_bytes: int, spare: Path) -> None:
    """Remove runs of a folder, oldest first, until the rest takes at most `most_bytes`; `spare` stays.

    A run's journal goes with it. A file that only has the suffix, and a run that another writer is at, are
    left alone. What cannot be removed is a warning. Raises OSError: no such folder.
    """
    now = time.time()
    runs: list[tuple[float, int, list[Path]]] = []
    total = 0
    for path in folder.iterdir():
        if path.suffix != SUFFIX or not is_run(path):
            continue
        files = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
        size = sum(_size(each) for each in files)
        total += size
        if path != spare and _changed(files[1]) < now - LIVE_S:
            runs.append((_changed(path), size, files))
    for _, size, files in sorted(runs):
        if total <= most_bytes:
            return
        try:
            for each in files:
                each.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s: not removed: %s", files[0], error.strerror)
            continue
        _log.info("%s: removed, the oldest run, to keep within %d MiB", files[0], most_bytes >> 20)
        total -= size


def _changed(path: Path) -> float:
    """When, seconds since 1970; 0 where there is no such file."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
