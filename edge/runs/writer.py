"""Records a run: the frame loop hands results over, a thread of its own writes them once a second."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edge.runs.format import SUFFIX, RunAbout, RunError, create
from edge.runs.room import make_room
from edge.runs.tables import Locate, RunTables
from edge.runs.taken import Taken, Taker

if TYPE_CHECKING:
    from edge.pipeline import FrameResult

FLUSH_S = 1.0
"""What a kill -9 may cost of the end of a run."""
MOST_WAITING = 256
"""Frames in memory that are not written yet; beyond it frames are left out."""
MOST_PICTURES = 8
"""Frames among them that keep their pixels: 12 MiB each in 4K."""

log = logging.getLogger(__name__)


class RunWriter:
    """`add` after every frame, `close` at the end; a context manager. `add` belongs to one thread.

    Nothing that goes wrong with the disk ends a flight: it is logged, once, and the frames that it costs are
    counted in `left_out`. Make one with `open`.
    """

    def __init__(
        self, path: Path, tables: RunTables, taker: Taker, *, keep_bytes: int | None, wait: bool
    ) -> None:
        self.path = path
        self.left_out = 0
        self._tables = tables
        self._taker = taker
        self._keep_bytes = keep_bytes
        self._wait = wait
        self._waiting: deque[Taken] = deque()
        self._pictures = 0
        self._changed = threading.Condition()
        self._stopping = self._troubled = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        folder: Path,
        about: RunAbout,
        *,
        keep_mib: int | None = None,
        thumbnail_every_s: float = 2.0,
        locate: Locate | None = None,
        wait: bool = False,
    ) -> RunWriter:
        """Begin a run in `folder`, which is made if needed.

        Args:
            about: what the run is of. Of pictures that are unrelated, each is kept small.
            keep_mib: most MiB of all runs in the folder: the oldest go to make room, a run that reaches it
                alone loses its oldest frames. None: nothing is ever removed.
            thumbnail_every_s: seconds of capture time between two pictures of the whole frame.
            locate: puts each frame's footprint on the ground; called in the writer's thread.
            wait: `add` waits for a slow disk, rather than leave frames or pictures out; not for a flight.

        Raises:
            RunError: nothing can be written there.
        """
        path = folder / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if keep_mib is not None:
                make_room(folder, keep_mib << 20, spare=path)
            db = create(path, about)
        except FileExistsError as error:
            raise RunError(f"{folder}: no run can be recorded: it is a file (name a folder)") from error
        except (OSError, sqlite3.Error) as error:
            detail = error.strerror if isinstance(error, OSError) else error
            raise RunError(f"{folder}: no run can be recorded: {detail} (name a folder with room)") from error
        taker = Taker(0.0 if about.independent else thumbnail_every_s)
        keep_bytes = None if keep_mib is None else keep_mib << 20
        return cls(path, RunTables(db, locate), taker, keep_bytes=keep_bytes, wait=wait)

    def add(self, result: FrameResult) -> None:
        """Take one frame over, at once unless made to wait; one without an embedding is passed over."""
        if result.scores.embedding is None:
            return
        with self._changed:
            if self._wait:
                self._changed.wait_for(lambda: self._stopping or not (self._full or self._many_pictures))
            full, pictures = self._full, not self._many_pictures
            if full:
                self._leave_out(1, "the disk is slower than the frames")
        if full:
            return
        taken = self._taker.take(result, pictures=pictures)
        with self._changed:
            self._waiting.append(taken)
            self._pictures += taken.image is not None
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is left; one file without a journal remains. May be called twice.

        What the disk does not take any more is logged, not raised.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _full(self) -> bool:
        return len(self._waiting) >= MOST_WAITING

    @property
    def _many_pictures(self) -> bool:
        return self._pictures >= MOST_PICTURES

    def _due(self) -> bool:
        """Whether what waits is to be written before its second is over."""
        return self._stopping or self._pictures > MOST_PICTURES // 2 or len(self._waiting) > MOST_WAITING // 2

    def _leave_out(self, frames: int, why: object, *, trace: bool = False) -> None:
        self.left_out += frames
        if not self._troubled:
            log.warning("%s: frames are missing in this run: %s", self.path, why, exc_info=trace)
        self._troubled = True

    def _run(self) -> None:
        stopping = False
        try:
            while not stopping:
                with self._changed:
                    self._changed.wait_for(self._due, FLUSH_S)
                    stopping = self._stopping
                self._flush()
        finally:
            with self._changed:  # whatever ended it, nobody waits for it any more
                self._stopping = True
                self._changed.notify_all()
            self._close()

    def _close(self) -> None:
        try:
            self._tables.close()
        except sqlite3.Error as error:
            log.warning("%s: cannot be closed properly: %s (it can be read all the same)", self.path, error)

    def _flush(self) -> None:
        """Everything that waits, in one transaction. What the disk refuses is left out."""
        with self._changed:
            batch = list(self._waiting)
        if not batch:
            return
        try:
            self._tables.add(batch)
        except sqlite3.Error as error:
            self._lose(batch, f"{error} (make room on the disk)")
        except Exception as error:  # noqa: BLE001 - a frame that cannot be written must not end the recording
            self._lose(batch, repr(error), trace=True)
        else:
            if self._troubled:
                log.info("%s: recording again; %d frames are missing", self.path, self.left_out)
            self._troubled = False
            self._keep_bound()
        with self._changed:
            for taken in batch:
                self._waiting.popleft()
                self._pictures -= taken.image is not None
            self._changed.notify_all()

    def _lose(self, batch: list[Taken], why: str, *, trace: bool = False) -> None:
        self._taker.forget(seen.track for taken in batch for seen in taken.sightings)
        with self._changed:
            self._leave_out(len(batch), why, trace=trace)

    def _keep_bound(self) -> None:
        """The oldest runs go first; when this one fills the room alone, its oldest frames."""
        if self._keep_bytes is None:
            return
        try:
            make_room(self.path.parent, self._keep_bytes, spare=self.path)
            self._taker.forget(self._tables.shrink(self._keep_bytes))
        except (OSError, sqlite3.Error) as error:
            log.warning("%s: its bound cannot be kept now: %s", self.path.parent, error)
