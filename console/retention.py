"""What the history keeps, and for how long: old counts become coarser, then they go, then old events do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from console.store import COARSE_S

_SHARE = 20  # a twentieth of the oldest goes at once where there is too much
_PAGES_AT_ONCE = 2000  # given back to the disk in one turn: it holds the writers up
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Keep:
    """Days and bytes. Of counts, each FINE_S seconds for `fine_days`, then each COARSE_S."""

    days: float = 90.0
    fine_days: float = 2.0
    max_bytes: int = 1 << 30


def in_one(database: sqlite3.Connection, step: Callable[[], None]) -> None:
    """All of `step` or, where it raises, nothing. Raises sqlite3.Error."""
    database.execute("BEGIN IMMEDIATE")
    try:
        step()
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # a full disk ends it by itself
            database.execute("ROLLBACK")
        raise


def tend(database: sqlite3.Connection, keep: Keep, now: float) -> None:
    """Remove what is too old or too much. Raises sqlite3.Error."""
    in_one(database, lambda: _age(database, keep, now))
    while size(database) > keep.max_bytes:
        before = database.total_changes
        in_one(database, lambda: _shed(database))
        if database.total_changes == before:
            break
    database.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()


def size(database: sqlite3.Connection) -> int:
    """Bytes in use: pages that are free are used again first."""
    pages, free, each = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * each)


def _age(database: sqlite3.Connection, keep: Keep, now: float) -> None:
    end = int(now - keep.fine_days * _DAY) // COARSE_S * COARSE_S
    database.execute(
        # The last row of each span (place 1) gives what is no extreme.
        "INSERT INTO counts SELECT series, 1, at / ?1 * ?1 AS span, min(low), max(high),"
        " max(iif(place = 1, count, NULL)), max(iif(place = 1, different, NULL)),"
        " max(iif(place = 1, score, NULL)) FROM"
        " (SELECT *, row_number() OVER (PARTITION BY series, at / ?1 ORDER BY at DESC) AS place"
        " FROM counts WHERE coarse = 0 AND at < ?2) WHERE true GROUP BY series, span"
        " ON CONFLICT DO UPDATE SET"
        " low = min(low, excluded.low), high = max(high, excluded.high), count = excluded.count,"
        " different = excluded.different, score = excluded.score",
        (COARSE_S, end),
    )
    database.execute("DELETE FROM counts WHERE coarse = 0 AND at < ?", (end,))
    oldest = now - keep.days * _DAY
    for table, column in (("counts", "at"), ("events", "received"), ("acts", "at"), ("audit", "at")):
        database.execute(f"DELETE FROM {table} WHERE {column} < ?", (oldest,))


def _shed(database: sqlite3.Connection) -> None:
    """The oldest counts; where there are none, the oldest events. What operators did stays to its age."""
    for table, column in (("counts", "at"), ("events", "received")):
        count = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        if count:
            row = database.execute(
                f"SELECT {column} FROM {table} ORDER BY {column} LIMIT 1 OFFSET ?", (count // _SHARE,)
            ).fetchone()
            database.execute(f"DELETE FROM {table} WHERE {column} <= ?", row)
            return
