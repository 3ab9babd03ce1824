"""Files that a cache does not know: what builds left behind that were cut off, or whose record was lost."""

from __future__ import annotations

import logging
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
