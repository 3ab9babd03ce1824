"""Takes over from a damaged outbox what can still be read: one bad page must not cost every alert."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from edge.outbox.messages import Kind
from edge.outbox.schema import create

log = logging.getLogger(__name__)

_MESSAGE = "id, topic, payload, qos, retain, kind, event_id, created, size, put_ns, boot_id, seq, correlation"
_EVENT = "id, boot_id, seq, event_id, payload, size"
_LAST_ID = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'"
MOST = 1 << 53  # ids and numbers beyond it are damage: no drone counts so far
MOST_MISSES = 1000  # ids in a row that cannot be read before the rest is given up

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Saved:
    messages: list[Row]
    events: list[Row]
    alerts: list[Row]
    last_id: int
    seq: int


def salvage(damaged: Path, folder: Path) -> Path:
    """Makes an outbox in the empty `folder` of what can be read of `damaged`, and says how much that is.

    The damaged file and its journal are only read. Raises OSError or sqlite3.Error: it cannot be written.
    """
    copy, new = folder / "old.db", folder / "new.db"
    for suffix in ("", "-wal"):
        part = damaged.with_name(damaged.name + suffix)
        if not suffix or part.exists():
            shutil.copyfile(part, copy.with_name(copy.name + suffix))
    saved = _read(copy)
    _write(new, saved)
    numbers = (len(saved.messages), len(saved.events), len(saved.alerts))
    log.warning("outbox: saved of it: %d messages, %d sent events, %d active alerts", *numbers)
    return new


def _read(copy: Path) -> _Saved:
    old = sqlite3.connect(copy, isolation_level=None)
    try:
        old.text_factory = _text
        found = _rows(old, "messages", _MESSAGE)
        messages = [row for row in found if _is_message(row)]
        waiting = {row[0] for row in messages}
        # What cannot be sent as it is, for a bad topic say, can still be asked for if it is a whole event.
        unsent = [(row[0], *row[10:12], row[6], row[2], row[8]) for row in found if row[0] not in waiting]
        # A page that was reused can show an event twice: as waiting and as sent. Sent again, it is dropped.
        sent = [row for row in _rows(old, "history", _EVENT) if row[0] not in waiting]
        events = [row for row in (*sent, *unsent) if _is_event(row)]
        if len(messages) < len(found):
            log.error("outbox: %d messages of it are damaged and not sent", len(found) - len(messages))
        last_id = max([_number(old, _LAST_ID), *waiting, *(row[0] for row in events)])
        seqs = [row[11] for row in messages if row[11] is not None] + [row[2] for row in events]
        seq = max([_number(old, "SELECT value FROM meta WHERE key = 'seq'"), *seqs])
        return _Saved(messages, events, _alerts(old), last_id, seq)
    finally:
        old.close()


def _write(new: Path, saved: _Saved) -> None:
    db = sqlite3.connect(new, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        create(db)
        for table, columns, rows in (
            ("messages", _MESSAGE, saved.messages),
            ("history", _EVENT, saved.events),
            ("alerts", "alert_id, state", saved.alerts),
        ):
            marks = ", ".join("?" for _ in columns.split(", "))
            # Whatever may be wrong with a row, it must not cost the others.
            db.executemany(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", rows)
        # Also beyond the ids of sent events, which those of new messages must never meet.
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'messages'")
        db.execute("INSERT INTO sqlite_sequence VALUES ('messages', ?)", (saved.last_id,))
        db.execute("UPDATE meta SET value = ? WHERE key = 'seq'", (saved.seq,))
        db.execute("COMMIT")
    finally:
        db.close()


def _rows(old: sqlite3.Connection, table: str, columns: str) -> list[Row]:
    """Every row that can be reached from either end of the table, in order, each id once."""
    found: dict[int, Row] = {}
    end = _number(old, _LAST_ID) or MOST
    for way, start, where in ((1, 0, "id >= ? ORDER BY id"), (-1, end, "id <= ? ORDER BY id DESC")):
        # One at a time: asked for more, SQLite would fail at a bad page before it gave the row before it.
        query = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {where} LIMIT 1"
        at, misses = start, 0
        while misses <= MOST_MISSES:
            try:
                row = old.execute(query, (at,)).fetchone()
            except sqlite3.Error:  # a bad page: beyond the ids that were on it there may be a good one
                at, misses = at + way, misses + 1
                continue
            if row is None or not _counts(row[0]) or row[0] in found or (row[0] - at) * way < 0:
                break  # the end, where the other way began, or a tree that leads in circles
            found[row[0]] = row
            at, misses = row[0] + way, 0
    return [found[key] for key in sorted(found)]


def _number(old: sqlite3.Connection, query: str) -> int:
    """The only column of the only row; 0 where there is none, or it cannot be read or be true."""
    try:
        row = old.execute(query).fetchone()
    except sqlite3.Error:
        return 0
    return row[0] if row is not None and _counts(row[0]) else 0


def _counts(value: object) -> bool:
    """Whether it may be an id, or the number of an event."""
    return isinstance(value, int) and 0 < value < MOST


def _text(cell: bytes) -> str | bytes:
    """No str where a bit has flipped: such a row is for nobody to use."""
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell


def _alerts(old: sqlite3.Connection) -> list[Row]:
    try:
        rows = old.execute("SELECT alert_id, state FROM alerts").fetchall()
    except sqlite3.Error:
        return []  # the broker still has them: they are swept as orphans
    return list({row[0]: row for row in rows if all(isinstance(part, str) for part in row)}.values())


def _is_message(row: Row) -> bool:
    number, topic, payload, qos, retain, kind, event_id, created, size, put_ns, boot_id, seq, correlation = (
        row
    )
    return (
        _counts(number)
        and isinstance(topic, str)
        and isinstance(payload, bytes)
        and qos in (0, 1)
        and retain in (0, 1)
        and kind in get_args(Kind)
        and isinstance(event_id, str | None)
        and isinstance(created, float)
        and isinstance(size, int)
        and isinstance(put_ns, int)
        and isinstance(boot_id, str | None)
        and (seq is None or _counts(seq))
        and isinstance(correlation, bytes | None)
    )


def _is_event(row: Row) -> bool:
    return all(_counts(row[place]) for place in (0, 2)) and all(
        isinstance(part, wanted) for part, wanted in zip(row, (int, str, int, str, bytes, int), strict=True)
    )
