"""Opens the file of a recorded run, and says what is wrong with one that is none."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from edge.runs.format import APPLICATION_ID, SCHEMA_VERSION, SUFFIX, RunError, is_run

RECORD = "record one with remoteclip count SOURCE --prompts LIST --record FOLDER"
"""How a run is made."""


def open_run(path: Path) -> sqlite3.Connection:
    """Its database, read only. Raises RunError: not there, not a run, of another version, or damaged."""
    if path.is_dir():
        raise RunError(f"{path}: is a folder, not a run (name one of the {SUFFIX} files in it)")
    if not path.is_file():
        raise RunError(f"{path}: no such run ({RECORD})")
    try:
        db = _connect(path)
        try:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
        except BaseException:
            db.close()
            raise
    except sqlite3.DatabaseError as error:
        # What cannot be opened now is an OperationalError, and may be whole.
        if not isinstance(error, sqlite3.OperationalError) and is_run(path):
            raise RunError(f"{path}: damaged run: {error} (record it again)") from error
        raise RunError(f"{path}: not a recorded run: {error} ({RECORD})") from error
    if application != APPLICATION_ID:
        db.close()
        raise RunError(f"{path}: is a database, but not a recorded run ({RECORD})")
    if version != SCHEMA_VERSION:
        db.close()
        raise RunError(f"{path}: was recorded by another version of remoteclip (schema {version})")
    return db


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.resolve()))}?mode=ro"
    db = sqlite3.connect(uri, uri=True)
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return db
    except sqlite3.OperationalError:
        db.close()
        # Without a journal it may lie where nothing can be written, such as on a mounted card.
        if Path(f"{path}-wal").exists():
            raise
        return sqlite3.connect(f"{uri}&immutable=1", uri=True)
