"""Notices that a file was saved, whichever way an editor does that."""

from __future__ import annotations

import os
from pathlib import Path

_Look = tuple[int, int, int, int, int]
_NEVER: _Look = (-1, -1, -1, -1, -1)


class FileWatch:
    """Ask it at a steady pace, from one thread.

    It compares what the file system says of the file: that costs next to nothing, needs no inotify, and
    works on network file systems. What the content is worth is for others to say.
    """

    def __init__(self, path: Path) -> None:
        """The first look is news in any case."""
        self.path = path
        self._taken: _Look | None = _NEVER
        self._last: _Look | None = None

    def saved(self) -> bool:
        """Whether the file is another one since this was last True, and has been at rest since the last look.

        So a file that is still being written in place is not news yet. A file that went away is news, too.
        """
        look = self._look()
        at_rest, self._last = look == self._last, look
        if look == self._taken or not at_rest:
            return False
        self._taken = look
        return True

    def _look(self) -> _Look | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        # The last: some tools write in place and set the time of writing back.
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
