"""What a recorded run looks like on disk: one SQLite file a run, `*.run`, in WAL mode while it is written.

A frame's places are one blob of PLACE records in its row: a flight with three hundred places in every frame
would otherwise make thousands of rows a second.
"""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.geo.pose import Pose, PoseAccuracy
from firmware_cfg.errors import RemoteclipError

SUFFIX = ".run"
APPLICATION_ID = 0x72636C70  # "rclp": tells a run from any other SQLite file
SCHEMA_VERSION = 1

PLACE = np.dtype(
    [
        ("prompt", "<u2"),  # index into the prompts of the frame's list
        ("confirmed", "<u2"),
        ("track", "<i8"),
        ("box", "<f4", (4,)),  # x1 y1 x2 y2, pixels of the frame
        ("score", "<f4"),
        ("latitude", "<f8"),  # degrees, WGS 84; NaN where the place on the ground is not known
        ("longitude", "<f8"),
        ("h_acc_m", "<f4"),
    ]
)
"""One place of a frame. Little-endian whatever the machine."""

GRID = 5
"""A footprint is where GRID x GRID pixels, evenly over the frame and row by row, lie on the ground."""

PlaceRecords: TypeAlias = NDArray[Any]  # of PLACE

_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE lists (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL,
    prompts TEXT NOT NULL         -- JSON: [{"id":, "kind":, "text": [...], "threshold":}, ...]
);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    time_s REAL NOT NULL,
    captured_at REAL NOT NULL,    -- seconds since 1970, UTC
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    list INTEGER NOT NULL REFERENCES lists (id),
    embedding BLOB NOT NULL,      -- D little-endian float16
    pose BLOB,                    -- POSE_NUMBERS little-endian float64, NaN for an unknown altitude
    footprint BLOB,               -- GRID * GRID * (latitude, longitude) little-endian float64
    counts TEXT NOT NULL,         -- JSON: {prompt id: [count, unique, score]}
    places BLOB NOT NULL,         -- PLACE records
    thumbnail BLOB                -- JPEG of the whole frame
);
CREATE TABLE tracks (
    track INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    frame INTEGER NOT NULL,       -- id of the frame that shows it best
    score REAL NOT NULL,
    box BLOB NOT NULL,            -- 4 little-endian float32, as in PLACE
    embedding BLOB NOT NULL,      -- of its cell, D little-endian float16
    crop BLOB                     -- JPEG of its surroundings
);
"""
POSE_NUMBERS = 11


class RunError(RemoteclipError):
    """A run cannot be opened, is no run, or does not fit what is asked of it."""


@dataclass(frozen=True, slots=True)
class RunAbout:
    """What a whole run has in common.

    source           where its frames came from, without a password
    bundle_sha256    of the model's manifest: embeddings of two models cannot be compared
    embedding_width  D
    began_at         ISO 8601, UTC
    independent      its frames are unrelated pictures
    device, session  who flew; empty where nobody did
    """

    source: str
    bundle_sha256: str
    embedding_width: int
    began_at: str
    independent: bool = False
    device: str = ""
    session: str = ""


def create(path: Path, about: RunAbout) -> sqlite3.Connection:
    """Make a run without frames, for any thread. Raises sqlite3.Error, and leaves nothing behind then."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")  # in the file itself, not in its journal
        db.execute("PRAGMA journal_mode = WAL")  # who searches it in flight waits for nobody
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        facts = [(name, json.dumps(value)) for name, value in asdict(about).items()]
        db.executemany("INSERT INTO about VALUES (?, ?)", facts)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        path.unlink(missing_ok=True)
        raise
    return db


def is_run(path: Path) -> bool:
    """Whether a file says in its first bytes that it is a run; False for one that is gone. Raises OSError."""
    try:
        with path.open("rb") as file:
            head = file.read(72)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return head.startswith(b"SQLite format 3\0") and head[68:72] == APPLICATION_ID.to_bytes(4, "big")


def pack_pose(pose: Pose) -> bytes:
    """The pose as its column has it."""
    altitude = math.nan if pose.altitude_m is None else pose.altitude_m
    numbers = (
        pose.latitude,
        pose.longitude,
        pose.height_m,
        pose.yaw_deg,
        pose.pitch_deg,
        pose.roll_deg,
        altitude,
        *astuple(pose.accuracy),
    )
    return np.array(numbers, "<f8").tobytes()


def unpack_pose(data: bytes) -> Pose:
    """Raises ValueError where the bytes are none of `pack_pose`."""
    numbers = np.frombuffer(data, "<f8").tolist()
    if len(numbers) != POSE_NUMBERS:
        raise ValueError(f"a pose of {len(numbers)} numbers")
    latitude, longitude, height_m, yaw, pitch, roll, altitude = numbers[:7]
    accuracy = PoseAccuracy(*numbers[7:])
    known = None if math.isnan(altitude) else altitude
    return Pose(latitude, longitude, height_m, yaw, pitch, roll, accuracy, known)


def pack_halves(vector: NDArray[np.floating[Any]]) -> bytes:
    """An embedding as float16: a unit vector loses less than a thousandth of a cosine."""
    return vector.astype("<f2").tobytes()


def footprint_pixels(width: int, height: int) -> NDArray[np.float64]:
    """(GRID * GRID, 2) float64: the pixels x, y of a frame whose places on the ground make its footprint."""
    x, y = np.meshgrid(np.linspace(0, width, GRID), np.linspace(0, height, GRID))
    return np.stack([x.ravel(), y.ravel()], axis=1)
