"""Reads a recorded run: never writes to it, also while the daemon records it, also after a kill -9."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.geo.pose import Pose
from edge.runs.format import (
    GRID,
    PLACE,
    SUFFIX,
    PlaceRecords,
    RunAbout,
    RunError,
    is_run,
    unpack_pose,
)
from edge.runs.opening import RECORD, open_run


@dataclass(frozen=True, slots=True)
class RunPrompt:
    """A prompt that the run looked for; `threshold` is what applied, 0 to 1."""

    id: str
    kind: str
    text: tuple[str, ...]
    threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class RunFrame:
    """One recorded frame.

    row            of the run, ascending
    list           of the run's prompt lists, what `places` count into
    footprint      (GRID * GRID, 2) float64 latitude and longitude of pixels evenly over the frame, row by
                   row, NaN where they show no ground; None without telemetry
    counts         by prompt: count, unique so far, score of the best place or of the scene
    places         PLACE records
    """

    row: int
    number: int
    name: str
    time_s: float
    captured_at: datetime
    width: int
    height: int
    list: int
    pose: Pose | None
    footprint: NDArray[np.float64] | None
    counts: dict[str, tuple[int, int, float]]
    places: PlaceRecords
    has_thumbnail: bool


@dataclass(frozen=True, slots=True, eq=False)
class RunTrack:
    """One thing that was followed, where it was seen best: frame row, box in pixels, (D,) embedding."""

    track: int
    prompt: str
    frame: int
    score: float
    box: tuple[float, float, float, float]
    embedding: F32


class Run:
    """One open run. A context manager, or `close` it. Every method raises RunError for a damaged file."""

    def __init__(self, path: Path) -> None:
        """Raises RunError: not there, not a run, of another version, or damaged."""
        self.path = path
        self._db = open_run(path)
        try:
            with self._readable():
                facts = dict(self._db.execute("SELECT name, value FROM about"))
                self.about = RunAbout(**{name: json.loads(value) for name, value in facts.items()})
                self.lists: dict[int, tuple[RunPrompt, ...]] = {
                    row: tuple(
                        RunPrompt(one["id"], one["kind"], tuple(one["text"]), float(one["threshold"]))
                        for one in json.loads(prompts)
                    )
                    for row, prompts in self._db.execute("SELECT id, prompts FROM lists")
                }
        except BaseException:
            self._db.close()
            raise

    def frames(self) -> list[RunFrame]:
        """Every frame in the order of capture. RunError where there is none."""
        with self._readable():
            rows = self._db.execute(
                "SELECT id, number, name, time_s, captured_at, width, height, list, pose, footprint, counts,"
                " places, thumbnail IS NOT NULL FROM frames ORDER BY id"
            )
            frames = [_frame(row) for row in rows]
        if not frames:
            raise RunError(f"{self.path}: holds no frames ({RECORD})")
        return frames

    def embeddings(self) -> F32:
        """(N, D) float32 of unit length, a row for each of `frames`."""
        with self._readable():
            rows = self._db.execute("SELECT embedding FROM frames ORDER BY id").fetchall()
            vectors = [self._vector(data) for (data,) in rows]
            return _unit(np.array(vectors, np.float32).reshape(-1, self.about.embedding_width))

    def tracks(self) -> list[RunTrack]:
        """Every confirmed track, in the order of their ids."""
        with self._readable():
            return [
                RunTrack(track, prompt, frame, score, _box(box), _unit(self._vector(embedding)[None])[0])
                for track, prompt, frame, score, box, embedding in self._db.execute(
                    "SELECT track, prompt, frame, score, box, embedding FROM tracks ORDER BY track"
                )
            ]

    def thumbnail(self, row: int) -> bytes | None:
        """JPEG of a frame, None where none was kept."""
        return self._picture("SELECT thumbnail FROM frames WHERE id = ?", row)

    def crop(self, track: int) -> bytes | None:
        """JPEG of a track's surroundings where it was seen best, None where none was kept."""
        return self._picture("SELECT crop FROM tracks WHERE track = ?", track)

    def close(self) -> None:
        """May be called twice."""
        self._db.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _picture(self, query: str, key: int) -> bytes | None:
        with self._readable():
            row = self._db.execute(query, (key,)).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])

    def _vector(self, data: bytes) -> F32:
        vector = np.frombuffer(data, "<f2").astype(np.float32)
        if vector.size != self.about.embedding_width or not np.isfinite(vector).all():
            raise ValueError(f"an embedding is not {self.about.embedding_width} finite numbers")
        return vector

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError, KeyError, OverflowError) as error:
            raise RunError(f"{self.path}: damaged run: {error} (record it again)") from error


def find_runs(path: Path) -> list[Path]:
    """The run at `path`, or those in a folder, oldest name first; empty where it is a folder without any."""
    if path.is_dir():
        # Installers have that suffix, too. Of one that cannot be read, who opens it says why.
        named = [each for each in path.iterdir() if each.suffix == SUFFIX and each.is_file()]
        return sorted(each for each in named if not os.access(each, os.R_OK) or is_run(each))
    return [path]


def _frame(row: Sequence[Any]) -> RunFrame:
    key, number, name, time_s, captured_at, width, height, in_list = row[:8]
    pose, footprint, counts, places, shown = row[8:]
    return RunFrame(
        row=key,
        number=number,
        name=name,
        time_s=time_s,
        captured_at=datetime.fromtimestamp(captured_at, timezone.utc),
        width=width,
        height=height,
        list=in_list,
        pose=None if pose is None else unpack_pose(pose),
        footprint=None if footprint is None else np.frombuffer(footprint, "<f8").reshape(GRID * GRID, 2),
        counts={prompt: tuple(numbers) for prompt, numbers in json.loads(counts).items()},
        places=np.frombuffer(places, PLACE),
        has_thumbnail=bool(shown),
    )


def _box(data: bytes) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = np.frombuffer(data, "<f4").tolist()
    return x1, y1, x2, y2


def _unit(rows: F32) -> F32:
    unit: F32 = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return unit
