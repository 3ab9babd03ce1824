"""The tables of the outbox's SQLite file, and how files of earlier versions become one of this."""

from __future__ import annotations

import json
import sqlite3

SCHEMA_VERSION = 2
APPLICATION_ID = 0x72636C70  # "rclp": tells an outbox from somebody else's database

_MESSAGES = (
    # AUTOINCREMENT: an id is never given twice, so ids also order the history and tell openings apart.
    "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL,"
    " qos INTEGER NOT NULL, retain INTEGER NOT NULL, kind TEXT NOT NULL, event_id TEXT,"
    " created REAL NOT NULL, size INTEGER NOT NULL)",
    "CREATE INDEX messages_by_kind ON messages (kind, id)",
    "CREATE INDEX messages_by_topic ON messages (topic)",
)
# From version 1 to 2: when a row was put by a clock that nobody sets, the number of its event, the
# correlation data of an answer, and the events that were sent. `put_ns` means nothing in a later opening.
_SECOND = (
    "ALTER TABLE messages ADD COLUMN put_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE messages ADD COLUMN boot_id TEXT",
    "ALTER TABLE messages ADD COLUMN seq INTEGER",
    "ALTER TABLE messages ADD COLUMN correlation BLOB",
    "CREATE INDEX messages_by_event ON messages (event_id) WHERE event_id IS NOT NULL",
    "CREATE TABLE history (id INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, seq INTEGER NOT NULL,"
    " event_id TEXT NOT NULL, payload BLOB NOT NULL, size INTEGER NOT NULL)",
    "CREATE INDEX history_by_seq ON history (boot_id, seq)",
    "CREATE VIEW events (id, boot_id, seq, event_id, payload, sent) AS"
    " SELECT id, boot_id, seq, event_id, payload, 1 FROM history UNION ALL"
    " SELECT id, boot_id, seq, event_id, payload, 0 FROM messages WHERE seq IS NOT NULL",
)


def create(db: sqlite3.Connection) -> None:
    """Makes all tables in an empty database; belongs in a transaction."""
    for statement in (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
        *_MESSAGES,
        "CREATE TABLE alerts (alert_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
        "INSERT INTO meta VALUES ('seq', 0)",
        *_SECOND,
        f"PRAGMA application_id = {APPLICATION_ID}",
        f"PRAGMA user_version = {SCHEMA_VERSION}",
    ):
        db.execute(statement)


def migrate_from_1(db: sqlite3.Connection) -> None:
    """Takes over a file of version 1 with all that waits in it; belongs in a transaction."""
    for statement in _SECOND:
        db.execute(statement)
    rows = db.execute("SELECT id, payload FROM messages WHERE event_id IS NOT NULL").fetchall()
    for message_id, payload in rows:
        numbered = _boot_and_seq(payload)
        if numbered is not None:
            db.execute("UPDATE messages SET boot_id = ?, seq = ? WHERE id = ?", (*numbered, message_id))
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _boot_and_seq(payload: bytes) -> tuple[str, int] | None:
    """Who numbered this event and how, or None: a message without a number is sent, but not kept."""
    try:
        body = json.loads(payload)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    boot_id, seq = body.get("boot_id"), body.get("seq")
    return (boot_id, seq) if isinstance(boot_id, str) and isinstance(seq, int) else None
