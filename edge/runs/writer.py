"""Records a run: the frame loop hands results over, a thread of its own writes them once a second."""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.runs.format import SUFFIX, RunAbout, RunError, create, footprint_pixels, pack_pose
from edge.runs.pictures import crop, thumbnail
from edge.runs.room import make_room
from edge.runs.taken import Taken, Taker

if TYPE_CHECKING:
    from edge.geo.ground import GroundPoints
    from edge.pipeline import FrameResult
    from edge.prompts.bank import PromptBank
    from edge.telemetry.pose import Pose

Locate: TypeAlias = "Callable[[NDArray[np.float64], Pose, tuple[int, int]], GroundPoints | None]"
"""Pixels (N, 2) of a frame of (width, height) taken from a pose -> where they lie on the ground."""

FLUSH_S = 1.0
"""What a kill -9 may cost of the end of a run."""
MOST_WAITING = 256
"""Frames in memory that are not written yet; beyond it frames are left out."""
MOST_PICTURES = 8
"""Frames among them that keep their pixels: 12 MiB each in 4K."""
_LEAVE = 0.1
"""Share of a run that goes, its oldest, each time that it fills the room by itself."""

log = logging.getLogger(__name__)


class RunWriter:
    """`add` after every frame, `close` at the end; a context manager. `add` belongs to one thread.

    Nothing that goes wrong with the disk ends a flight: it is logged, once, and the frames that it costs are
    counted in `left_out`. Make one with `open`.
    """

    def __init__(
        self, path: Path, db: sqlite3.Connection, keep_bytes: int | None, taker: Taker, locate: Locate | None
    ) -> None:
        self.path = path
        self.left_out = 0
        self._db = db
        self._keep_bytes = keep_bytes
        self._taker = taker
        self._locate = locate
        self._lists: dict[str, int] = {}
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
    ) -> RunWriter:
        """Begin a run in `folder`, which is made if needed.

        Args:
            about: what the run is of.
            keep_mib: most MiB of all runs in the folder: the oldest go to make room, a run that reaches it
                alone loses its oldest frames. None: nothing is ever removed.
            thumbnail_every_s: seconds of capture time between two pictures of the whole frame.
            locate: puts each frame's footprint on the ground; called in the writer's thread.

        Raises:
            RunError: nothing can be written there.
        """
        path = folder / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if keep_mib is not None:
                make_room(folder, keep_mib << 20, spare=path)
            db = create(path, about)
        except (OSError, sqlite3.Error) as error:
            detail = error.strerror if isinstance(error, OSError) else error
            raise RunError(f"{folder}: no run can be recorded: {detail} (name a folder with room)") from error
        keep_bytes = None if keep_mib is None else keep_mib << 20
        return cls(path, db, keep_bytes, Taker(thumbnail_every_s), locate)

    def add(self, result: FrameResult) -> None:
        """Take one frame over, at once; one without an embedding is passed over."""
        if result.scores.embedding is None:
            return
        with self._changed:
            full, pictures = len(self._waiting) >= MOST_WAITING, self._pictures < MOST_PICTURES
            if full:
                self._leave_out(1, "the disk is slower than the frames")
        if full:
            return
        taken = self._taker.take(result, pictures=pictures)
        with self._changed:
            self._waiting.append(taken)
            self._pictures += taken.image is not None
            if self._pictures > MOST_PICTURES // 2:
                self._changed.notify()

    def close(self) -> None:
        """Write what is left; one file without a journal remains. May be called twice.

        What the disk does not take any more is logged, not raised.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _leave_out(self, frames: int, why: object) -> None:
        self.left_out += frames
        if not self._troubled:
            log.warning("%s: frames are missing in this run: %s", self.path, why)
        self._troubled = True

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    if not self._stopping:
                        self._changed.wait(FLUSH_S)
                    stopping = self._stopping
                self._flush()
                if stopping:
                    break
            self._db.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            log.warning("%s: cannot be closed properly: %s (it can be read all the same)", self.path, error)
        finally:
            self._db.close()

    def _flush(self) -> None:
        """Everything that waits, in one transaction. What the disk refuses is left out."""
        with self._changed:
            batch = list(self._waiting)
        if not batch:
            return
        lists = dict(self._lists)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for taken in batch:
                self._write(taken)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._lists = lists
            with self._changed:
                self._leave_out(len(batch), f"{error} (make room on the disk)")
        else:
            if self._troubled:
                log.info("%s: recording again; %d frames are missing", self.path, self.left_out)
            self._troubled = False
            self._keep_bound()
        with self._changed:
            for taken in batch:
                self._waiting.popleft()
                self._pictures -= taken.image is not None

    def _write(self, taken: Taken) -> None:
        pose, picture = taken.pose, taken.image
        cursor = self._db.execute(
            "INSERT INTO frames VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                taken.number,
                taken.name,
                taken.time_s,
                taken.captured_at.timestamp(),
                *taken.size,
                self._list(taken.bank),
                taken.embedding,
                None if pose is None else pack_pose(pose),
                None if pose is None else self._footprint(pose, taken.size),
                json.dumps(taken.counts),
                taken.places.tobytes(),
                thumbnail(picture) if picture is not None and taken.thumbnail else None,
            ),
        )
        for seen in taken.sightings:
            box = np.array(seen.box, "<f4").tobytes()
            shown = None if picture is None else crop(picture, seen.box)
            row = (seen.track, seen.prompt, cursor.lastrowid, seen.score, box, seen.embedding, shown)
            self._db.execute("INSERT OR REPLACE INTO tracks VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _list(self, bank: PromptBank) -> int:
        """Row of the prompt list, written when it is first met."""
        if bank.list_sha256 not in self._lists:
            prompts = [
                {"id": each.id, "kind": each.kind, "text": each.text, "threshold": bank.thresholds[each.id]}
                for each in bank.prompt_list.prompts
            ]
            row = self._db.execute(
                "INSERT INTO lists VALUES (NULL, ?, ?)", (bank.list_sha256, json.dumps(prompts))
            )
            self._lists[bank.list_sha256] = row.lastrowid or 0
        return self._lists[bank.list_sha256]

    def _footprint(self, pose: Pose, size: tuple[int, int]) -> bytes | None:
        ground = None if self._locate is None else self._locate(footprint_pixels(*size), pose, size)
        if ground is None:
            return None
        return np.stack([ground.latitude, ground.longitude], axis=1).astype("<f8").tobytes()

    def _keep_bound(self) -> None:
        """The oldest runs go first; when this one fills the room alone, its oldest frames."""
        if self._keep_bytes is None:
            return
        try:
            make_room(self.path.parent, self._keep_bytes, spare=self.path)
            pages, unused, size = (
                self._db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            if (pages - unused) * size > 0.9 * self._keep_bytes:  # the rest is for the journal
                first, last = self._db.execute("SELECT min(id), max(id) FROM frames").fetchone()
                leave = first + max(1, int(_LEAVE * (last - first)))
                self._db.execute("DELETE FROM frames WHERE id < ?", (leave,))
                self._db.execute("DELETE FROM tracks WHERE frame < ?", (leave,))
        except (OSError, sqlite3.Error) as error:
            log.warning("%s: its bound cannot be kept now: %s", self.path.parent, error)
