"""The tables of the console's SQLite file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from firmware_cfg.errors import RemoteclipError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x72636373  # "rccs": tells a history from somebody else's database
FINE_S = 10
COARSE_S = 300
"""Seconds that one row of counts stands for: at first, and when it is old."""
LOCK_PATIENCE_S = 2.0

_TABLES = (
    "CREATE TABLE events (event_id TEXT PRIMARY KEY, device TEXT NOT NULL, alert_id TEXT NOT NULL,"
    " boot_id TEXT NOT NULL, seq INTEGER NOT NULL, observed REAL NOT NULL, received REAL NOT NULL,"
    " payload BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX events_by_alert ON events (device, alert_id, seq)",
    "CREATE INDEX events_by_time ON events (received)",
    "CREATE TABLE acts (device TEXT NOT NULL, alert_id TEXT NOT NULL, at REAL NOT NULL,"
    " payload BLOB NOT NULL, PRIMARY KEY (device, alert_id, payload)) WITHOUT ROWID",
    "CREATE INDEX acts_by_time ON acts (at)",
    "CREATE TABLE series (id INTEGER PRIMARY KEY, device TEXT NOT NULL, prompt TEXT NOT NULL,"
    " kind TEXT NOT NULL, UNIQUE (device, prompt, kind))",
    # One row for each span of time: the last of it, and the extremes of the count.
    "CREATE TABLE counts (series INTEGER NOT NULL, coarse INTEGER NOT NULL, at INTEGER NOT NULL,"
    " low INTEGER NOT NULL, high INTEGER NOT NULL, count INTEGER NOT NULL, different INTEGER NOT NULL,"
    " score REAL NOT NULL, PRIMARY KEY (series, coarse, at)) WITHOUT ROWID",
    "CREATE INDEX counts_by_time ON counts (coarse, at)",
    "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, user TEXT NOT NULL,"
    " action TEXT NOT NULL, device TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL)",
    "CREATE INDEX audit_by_time ON audit (at)",
    "CREATE TABLE lists (device TEXT NOT NULL, sha256 TEXT NOT NULL, at REAL NOT NULL, user TEXT NOT NULL,"
    " text TEXT NOT NULL, PRIMARY KEY (device, sha256)) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class HistoryError(RemoteclipError):
    """The history cannot be opened, read or written."""


def open_database(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """The database at `path`, made if missing, readable by its owner alone. Raises HistoryError.

    It may be handed from thread to thread; who does so takes care that they do not meet.
    """
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        database = sqlite3.connect(
            path, timeout=LOCK_PATIENCE_S, isolation_level=None, check_same_thread=False
        )
        try:
            if read_only:
                database.execute("PRAGMA query_only = 1")
            else:
                _prepare(database, path)
        except BaseException:
            database.close()
            raise
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HistoryError(
            f"{path}: {reason} (name another folder with --data, or put the file aside)"
        ) from error
    return database


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    owner = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    empty = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not empty and (owner, version) != (APPLICATION_ID, SCHEMA_VERSION):
        other = "of another version" if owner == APPLICATION_ID else "somebody else's database"
        raise HistoryError(f"{path}: {other} (name another folder with --data, or put the file aside)")
    if empty:  # before anything is written: the first page says it
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    if empty:
        database.execute("BEGIN IMMEDIATE")
        try:
            for statement in _TABLES:
                database.execute(statement)
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise
