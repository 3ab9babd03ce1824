"""Pictures of what raised an alert: made small, kept in a ring on the disk, handed out by their hash."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.evidence.picture import picture
from edge.files import write_atomically

if TYPE_CHECKING:
    from edge.alerts.machine import Box
    from edge.frames import Image

log = logging.getLogger(__name__)

_NAME = re.compile(r"([0-9a-f]{64})\.jpg")
_LEFT_OVER = re.compile(r"\.[0-9a-f]{64}\.jpg\.[0-9a-f]+\.tmp")
_BLOCK = 4096  # bytes that a file system hands out at once; it bounds the number of files, too


class EvidenceStore:
    """JPEG files named by the SHA-256 of their bytes; beyond `keep_bytes` the oldest go.

    Never raises for what the disk does: an alert must not be lost for want of its picture. Thread-safe.

    Args:
        folder: made when the first picture is kept. Files of other names in it are left alone.
        max_bytes_each: largest picture.
        keep_bytes: most bytes of disk for all of them.
    """

    def __init__(self, folder: Path | str, *, max_bytes_each: int, keep_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes_each = max_bytes_each
        self.keep_bytes = keep_bytes
        self._lock = threading.Lock()
        self._troubled = False
        self._newest_ns = 0
        self._sizes: dict[str, int] = {}  # hash -> bytes on disk, oldest first
        self._kept_bytes = 0
        self._found = False
        try:
            self._find_kept()
        except OSError as error:
            self._complain(error)

    @property
    def kept_bytes(self) -> int:
        """What the pictures take on the disk."""
        with self._lock:
            return self._kept_bytes

    @property
    def count(self) -> int:
        """Number of pictures kept."""
        with self._lock:
            return len(self._sizes)

    def keep(self, image: Image, boxes: Sequence[Box]) -> str | None:
        """Keep what the boxes (pixels of the frame) show, or the whole frame where there are none.

        Returns:
            The SHA-256 under which `get` finds it, or None where it could not be kept; the log says why,
            once until it works again.
        """
        try:
            data = picture(image, boxes, self.max_bytes_each)
            name = hashlib.sha256(data).hexdigest()
            with self._lock:
                self._write(name, data)
        except Exception as error:  # noqa: BLE001 - whatever it was, the alert itself has to get through
            self._complain(error)
            return None
        if self._troubled:
            self._troubled = False
            log.info("%s: pictures of alerts can be kept again", self.folder)
        return name

    def get(self, sha256: str) -> bytes | None:
        """The picture of that hash; None when it is not kept (any more), or not what its name says."""
        with self._lock:
            if sha256 not in self._sizes:
                return None
            path = self._path(sha256)
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                self._forget(sha256)
                return None
            except OSError as error:
                log.warning("%s: cannot be read: %s", path, error.strerror)
                return None
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
            log.warning("%s: damaged, removed", path)
            try:
                self._remove(sha256)
            except OSError as error:
                log.warning("%s: cannot be removed: %s", path, error.strerror)
            return None

    def _write(self, name: str, data: bytes) -> None:
        if not self._found:
            self._find_kept()  # beside pictures that nobody counts no bound would hold
        self.folder.mkdir(parents=True, exist_ok=True)
        path, size = self._path(name), _on_disk(len(data))
        if not (path.is_file() and path.read_bytes() == data):
            self._make_room(size)  # first, so that the bound holds at every moment
            write_atomically(path, data)
        # The time of a file is its place in the ring after a restart, so it never runs back as clocks do.
        self._newest_ns = max(time.time_ns(), self._newest_ns + 1)
        os.utime(path, ns=(self._newest_ns, self._newest_ns))
        self._forget(name)
        self._sizes[name] = size
        self._kept_bytes += size

    def _make_room(self, size: int) -> None:
        """Raises OSError: too little of what is kept can be removed."""
        failure: OSError | None = None
        for name in list(self._sizes):
            if self._kept_bytes + size <= self.keep_bytes:
                return
            try:
                self._remove(name)
            except OSError as error:  # this one stays, and counts; the next one goes
                failure = error
        if failure is not None and self._kept_bytes + size > self.keep_bytes:
            raise failure

    def _remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._kept_bytes -= self._sizes.pop(name, 0)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.jpg"

    def _find_kept(self) -> None:
        """Learn what earlier runs kept, and remove what a kill left half written."""
        found: list[tuple[int, str, int]] = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            try:
                facts = path.lstat()
                if not stat.S_ISREG(facts.st_mode):
                    continue
                if match := _NAME.fullmatch(path.name):
                    found.append((facts.st_mtime_ns, match[1], _on_disk(facts.st_size)))
                elif _LEFT_OVER.fullmatch(path.name):
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("%s: cannot be looked at, or removed: %s", path, error.strerror)
        self._sizes = {name: size for _, name, size in sorted(found)}
        self._kept_bytes = sum(self._sizes.values())
        self._newest_ns = max((moment for moment, _, _ in found), default=0)
        self._found = True
        self._make_room(0)  # the ring may have been larger

    def _complain(self, error: Exception) -> None:
        if self._troubled:
            return
        self._troubled = True
        what = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        log.warning("%s: alerts go without a picture for now: %s", self.folder, what)


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
