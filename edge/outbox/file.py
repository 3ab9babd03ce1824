"""Opens the outbox's SQLite file: makes it, checks it, and has a damaged one replaced."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.outbox import damaged
from edge.outbox.schema import APPLICATION_ID, SCHEMA_VERSION, create, migrate_from_1
from firmware_cfg.errors import OutboxError

log = logging.getLogger(__name__)


class OutboxDamagedError(OutboxError):
    """The file has gone bad under way: only opening it anew, after a restart, can save what is left of it."""


class _NotAnOutboxError(Exception):
    """The file is a sound SQLite database, but not one that this version may write to."""


def open_outbox_file(path: Path) -> sqlite3.Connection:
    """The open, checked database at `path`: autocommit, held exclusively, synced to disk at every commit.

    A damaged file is renamed to `<name>.damaged-<number>` with its journal, logged, and replaced by a new one
    that has what could still be read of it.
    Raises OutboxError: not writable, held by another process, not an outbox of this version, or damaged where
    there is no room to save what is left of it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        damaged.finish(path)
        db = _open(path)
        damaged.forget(path)
        return db
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
        found = error
    try:
        damaged.replace_damaged(path, found)
        return _open(path)
    except sqlite3.Error as error:
        raise cannot(path, error) from error


class OutboxFile:
    """The open database at `path`: statements that fail as OutboxError, transactions that join. Thread-safe.

    Raises OutboxError as `open_outbox_file` does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.in_transaction = False
        self._db = open_outbox_file(path)
        self._durable = True

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        """Commits what the body ran, or rolls all of it back; not to be nested.

        A durable commit outlives a power cut. One that is not outlives the death of this process, but a power
        cut may take it back; it waits for no disk.
        """
        with self.lock:
            self._begin(durable=durable)
            self.in_transaction = True
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self.in_transaction = False

    @property
    def durable(self) -> bool:
        """Whether the transaction that runs now waits for the disk."""
        return self._durable

    def run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Executes one statement."""
        with self.lock:
            try:
                return self._db.execute(statement, values)
            except sqlite3.Error as error:
                raise cannot(self.path, error) from error

    def all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Every row of a query."""
        with self.lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise cannot(self.path, error) from error

    def one(self, statement: str, *values: Any) -> Any:
        """The first column of a query's first row; None where it has none."""
        rows = self.all(statement, *values)
        return rows[0][0] if rows else None

    def close(self) -> None:
        """May be called twice."""
        with self.lock:
            self._db.close()

    def _begin(self, *, durable: bool) -> None:
        try:
            if self._db.in_transaction:  # a rollback that failed: what it should have undone is undone now
                self._db.execute("ROLLBACK")
            if durable is not self._durable:  # which SQLite refuses to change within a transaction
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise cannot(self.path, error) from error

    def _roll_back(self) -> None:
        try:
            # After some errors, such as a full disk, SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.error("outbox %s: cannot roll back: %s", self.path, error)


def cannot(path: Path, error: sqlite3.Error) -> OutboxError:
    """What SQLite said, as the one line that a user can act on."""
    text = str(error)
    if "decode to UTF-8" in text:  # what follows there is the cell itself
        text = "text is malformed"
    if "locked" in text:
        mend = "is another remoteclip running with this state_dir?"
    elif "full" in text:
        mend = "make room on the disk"
    elif "malformed" in text or "not a database" in text:
        return OutboxDamagedError(
            f"{path}: outbox: {text} (restart: what is left of a damaged outbox is saved at start)"
        )
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
        create(db)
        return
    if db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise _NotAnOutboxError("is a database, but not an outbox")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version not in (1, SCHEMA_VERSION):
        raise _NotAnOutboxError(f"was written by another version of remoteclip (schema {version})")
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict.splitlines()[-1])
    if version == 1:
        migrate_from_1(db)
    _check_cells(db)


def _check_cells(db: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError for what SQLite's own check lets pass: text that is none, wrong types."""
    for table, texts, payload in (
        ("messages", ("topic", "kind", "event_id", "boot_id"), True),
        ("history", ("event_id", "boot_id"), True),
        ("alerts", ("alert_id", "state"), False),
    ):
        wrong = " OR ".join([f"typeof({column}) NOT IN ('text', 'null')" for column in texts])
        wrong += " OR typeof(payload) <> 'blob'" if payload else ""
        if db.execute(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1").fetchone():
            raise sqlite3.DatabaseError(f"a value in {table} is of a wrong type")
        try:
            deque(db.execute(f"SELECT {', '.join(texts)} FROM {table}"), maxlen=0)
        except sqlite3.OperationalError as error:
            if "decode to UTF-8" not in str(error):
                raise
            raise sqlite3.DatabaseError(f"a text in {table} is malformed") from error
