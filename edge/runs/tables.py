"""The tables of one run while it is recorded: rows go in by the batch, the oldest go when it must shrink."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.runs.format import footprint_pixels, pack_pose
from edge.runs.pictures import crop, thumbnail

if TYPE_CHECKING:
    from edge.geo.ground import GroundPoints
    from edge.geo.pose import Pose
    from edge.prompts.bank import PromptBank
    from edge.runs.taken import Taken

Locate: TypeAlias = "Callable[[NDArray[np.float64], Pose, tuple[int, int]], GroundPoints | None]"
"""Pixels (N, 2) of a frame of (width, height) taken from a pose -> where they lie on the ground."""

_TRACK = """
INSERT INTO tracks VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (track) DO UPDATE SET
    prompt = excluded.prompt, frame = excluded.frame, score = excluded.score,
    box = excluded.box, embedding = excluded.embedding, crop = excluded.crop
WHERE excluded.score > score
"""
_LEAVE = 0.1
"""Share of a run that goes, its oldest, each time that it fills the room by itself."""


class RunTables:
    """Writes to the database of `create`, for one thread at a time."""

    def __init__(self, db: sqlite3.Connection, locate: Locate | None) -> None:
        self._db = db
        self._locate = locate
        self._lists: dict[str, int] = {}

    def add(self, batch: Sequence[Taken]) -> None:
        """Add frames in one transaction. Whatever is raised, not one of them is kept then."""
        lists = dict(self._lists)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for taken in batch:
                self._add(taken)
            self._db.execute("COMMIT")
        except BaseException:
            self._lists = lists
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def shrink(self, most_bytes: int) -> list[int]:
        """Remove the oldest frames where the run takes nearly as much; the tracks that went with them."""
        pages, unused, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - unused) * size <= 0.9 * most_bytes:  # the rest is for the journal
            return []
        first, last = self._db.execute("SELECT min(id), max(id) FROM frames").fetchone()
        leave = first + max(1, int(_LEAVE * (last - first)))
        gone = [track for (track,) in self._db.execute("SELECT track FROM tracks WHERE frame < ?", (leave,))]
        self._db.execute("DELETE FROM frames WHERE id < ?", (leave,))
        self._db.execute("DELETE FROM tracks WHERE frame < ?", (leave,))
        return gone

    def close(self) -> None:
        """One file without a journal remains. Raises sqlite3.Error where that is not possible."""
        try:
            self._db.execute("PRAGMA journal_mode = DELETE")
        finally:
            self._db.close()

    def _add(self, taken: Taken) -> None:
        pose, picture = taken.pose, taken.image
        cursor = self._db.execute(
            "INSERT INTO frames VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                taken.number,
                taken.name.encode("utf-8", "backslashreplace").decode(),  # a file's name may be any bytes
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
            self._db.execute(_TRACK, row)

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
