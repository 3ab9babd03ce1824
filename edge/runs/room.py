"""How much of the disk recorded runs take: the oldest go first."""

from __future__ import annotations

import logging
from pathlib import Path

from edge.runs.format import SUFFIX

_log = logging.getLogger(__name__)


def make_room(folder: Path, most_bytes: int, spare: Path) -> None:
    """Remove runs of a folder, oldest first, until the rest takes at most `most_bytes`; `spare` stays.

    A run's journal goes with it. What cannot be removed is a warning. Raises OSError: no such folder.
    """
    runs: list[tuple[float, int, list[Path]]] = []
    total = 0
    for path in folder.iterdir():
        if path.suffix != SUFFIX:
            continue
        files = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
        size = sum(_size(each) for each in files)
        total += size
        if path != spare:
            runs.append((path.stat().st_mtime, size, files))
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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
