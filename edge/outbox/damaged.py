"""Puts what can be saved of a damaged outbox in its place: whole at every moment, so that no cut costs a row.

outbox.db             the one that is used, until the new one is whole
.outbox.db.salvage    where the new one is made; what a cut leaves in it is of no use
outbox.db.new         the new one, whole; it becomes outbox.db when that has been moved aside
outbox.db.damaged-7   the seventh that was moved aside, with its journal
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from edge.outbox.salvage import salvage
from firmware_cfg.errors import OutboxError

log = logging.getLogger(__name__)

MOST_DAMAGED = 3  # files that were moved aside and are kept for somebody to look at


def replace_damaged(path: Path, problem: Exception) -> None:
    """Move the outbox at `path` aside as `<name>.damaged-<number>`, and put what is left of it in its place.

    Raises OutboxError where that cannot be written: everything is as it was then, for the next start.
    """
    work = path.with_name(f".{path.name}.salvage")
    try:
        # A card that wears out damages file after file: what is kept of them must not fill it.
        for older in _moved_aside(path)[: 1 - MOST_DAMAGED]:
            for suffix in ("", "-wal", "-shm"):
                _beside(older, suffix).unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            os.replace(salvage(path, work), _beside(path, ".new"))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        _sync(path.parent)
        aside = _beside(path, f".damaged-{1 + _newest(path)}")
        os.replace(path, aside)
        finish(path)
    except OSError as error:
        raise OutboxError(
            f"{path}: outbox damaged, and what is left of it cannot be saved: {error}"
            " (make room on the disk, for two copies of it)"
        ) from error
    log.error("outbox %s: damaged (%s); moved aside to %s and started afresh", path, problem, aside)


def finish(path: Path) -> None:
    """Go on with a `replace_damaged` that was cut off after the damaged file was moved. Raises OSError."""
    new = _beside(path, ".new")
    if path.exists() or not new.exists():
        return
    aside = _beside(path, f".damaged-{_newest(path)}")
    for suffix in ("-wal", "-shm"):
        if (journal := _beside(path, suffix)).exists():
            os.replace(journal, _beside(aside, suffix))
    _sync(path.parent)  # the new one never meets the journal of the old one
    os.replace(new, path)
    _sync(path.parent)


def forget(path: Path) -> None:
    """Remove what a `replace_damaged` left that was cut off before, when `path` is sound. Raises OSError."""
    _beside(path, ".new").unlink(missing_ok=True)


def _moved_aside(path: Path) -> list[Path]:
    """In the order of their numbers, which no clock that is set can change."""
    return sorted((each for each in path.parent.glob(f"{path.name}.damaged-*") if _number(each)), key=_number)


def _newest(path: Path) -> int:
    return max((_number(each) for each in _moved_aside(path)), default=0)


def _number(aside: Path) -> int:
    """0 for what has none, such as its journal."""
    digits = aside.name.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
