"""Opens the outbox's SQLite file: makes it, checks it, and moves a damaged one aside."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from pathlib import Path

from firmware_cfg.errors import OutboxError

log = logging.getLogger(__name__)

_APPLICATION_ID = 0x72636C70  # "rclp": tells an outbox from somebody else's database
_SCHEMA_VERSION = 1
_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL,"
    " qos INTEGER NOT NULL, retain INTEGER NOT NULL, kind TEXT NOT NULL, event_id TEXT,"
    " created REAL NOT NULL, size INTEGER NOT NULL)",
    "CREATE INDEX messages_by_kind ON messages (kind, id)",
    "CREATE INDEX messages_by_topic ON messages (topic)",
    "CREATE TABLE alerts (alert_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('seq', 0)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)


class _NotAnOutboxError(Exception):
    """The file is a sound SQLite database, but not one that this version may write to."""


def open_outbox_file(path: Path) -> sqlite3.Connection:
    """The open, checked database at `path`: autocommit, held exclusively, synced to disk at every commit.

    A damaged file is renamed to `<name>.damaged-<time>` with its journal, logged, and replaced by a new one.
    Raises OutboxError: not writable, held by another process, or not an outbox of this version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _open(path)
    except OSError as error:
        problem = "is not a folder" if isinstance(error, FileExistsError) else str(error.strerror).lower()
        raise OutboxError(
            f"{path.parent}: {problem} (make state_dir a folder that can be written)"
        ) from error
    except _NotAnOutboxError as error:
        raise OutboxError(f"{path}: {error} (point state_dir at another folder)") from error
    except sqlite3.OperationalError as error:
        raise cannot(path, error) from error
    except sqlite3.DatabaseError as error:
        _move_aside(path, error)
    try:
        return _open(path)
    except sqlite3.Error as error:
        raise cannot(path, error) from error


def cannot(path: Path, error: sqlite3.Error) -> OutboxError:
    """What SQLite said, as the one line that a user can act on."""
    text = str(error)
    if "locked" in text:
        mend = "is another remoteclip running with this state_dir?"
    elif "full" in text:
        mend = "make room on the disk"
    elif "malformed" in text or "not a database" in text:
        mend = "restart: a damaged outbox is moved aside at start"
    elif "closed" in text:
        mend = "it was closed before its last user stopped"
    else:
        mend = "make state_dir a folder that can be written, on a sound disk"
    return OutboxError(f"{path}: outbox: {text} ({mend})")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
    try:
        # Exclusive before WAL: one owner, and no shared-memory file beside the database.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        _check_or_make(db)
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _check_or_make(db: sqlite3.Connection) -> None:
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        for statement in _SCHEMA:
            db.execute(statement)
        return
    if db.execute("PRAGMA application_id").fetchone() != (_APPLICATION_ID,):
        raise _NotAnOutboxError("is a database, but not an outbox")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != _SCHEMA_VERSION:
        raise _NotAnOutboxError(f"was written by another version of remoteclip (schema {version})")
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _move_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    try:
        os.replace(path, aside)
        for suffix in ("-wal", "-shm"):
            journal = path.with_name(path.name + suffix)
            if journal.exists():
                os.replace(journal, aside.with_name(aside.name + suffix))
    except OSError as failure:
        raise OutboxError(f"{path}: outbox damaged and not to be moved: {failure} (remove it)") from failure
    log.error("outbox %s: damaged (%s); moved aside to %s and started afresh", path, error, aside)
