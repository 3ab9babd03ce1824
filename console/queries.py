"""What is read out of the history."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from console.alerts import AlertKey
from firmware_cfg.messages import AlertAct, Event


@dataclass(frozen=True, slots=True)
class CountSeries:
    """A prompt of a drone that there are counts of."""

    device: str
    prompt: str
    kind: str


@dataclass(frozen=True, slots=True)
class CountPoint:
    """A span of time: the last count in it, the least and the most; different objects; the last score."""

    at: datetime
    low: int
    high: int
    count: int
    unique: int
    score: float


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what, to which drone; `target` is an alert id, a hash or a name."""

    id: int
    at: datetime
    user: str
    action: str
    device: str
    target: str
    detail: str


@dataclass(frozen=True, slots=True)
class KeptList:
    """A prompt list that a drone flew; `user` sent it, "" where it came another way."""

    sha256: str
    at: datetime
    user: str
    text: str


def events(database: sqlite3.Connection, device: str | None, alert_id: str | None, limit: int) -> list[Event]:
    wanted, values = "1", []
    for column, value in (("device", device), ("alert_id", alert_id)):
        if value is not None:
            wanted += f" AND {column} = ?"
            values.append(value)
    rows = database.execute(
        f"SELECT payload FROM events WHERE {wanted} ORDER BY received DESC, seq DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    return [event for (payload,) in reversed(rows) for event in _event(payload)]


def received(database: sqlite3.Connection, since: datetime, limit: int) -> list[tuple[datetime, Event]]:
    rows = database.execute(
        "SELECT received, payload FROM events WHERE received >= ? ORDER BY received DESC, seq DESC LIMIT ?",
        (since.timestamp(), limit),
    ).fetchall()
    return [(_utc(at), event) for at, payload in reversed(rows) for event in _event(payload)]


def has_event(database: sqlite3.Connection, event_id: str) -> bool:
    return database.execute("SELECT 1 FROM events WHERE event_id = ?", (event_id,)).fetchone() is not None


def acts(database: sqlite3.Connection, since: datetime) -> list[tuple[AlertKey, AlertAct]]:
    rows = database.execute(
        "SELECT device, alert_id, payload FROM acts WHERE at >= ? ORDER BY at", (since.timestamp(),)
    )
    return [((device, alert), AlertAct.model_validate_json(payload)) for device, alert, payload in rows]


def count_series(database: sqlite3.Connection) -> list[CountSeries]:
    rows = database.execute(
        "SELECT device, prompt, kind FROM series WHERE EXISTS"
        " (SELECT 1 FROM counts WHERE series = series.id) ORDER BY device, prompt"
    )
    return [CountSeries(*row) for row in rows]


def counts(
    database: sqlite3.Connection, device: str, prompt: str, since: datetime, until: datetime, points: int
) -> list[CountPoint]:
    first, last = int(since.timestamp()), int(until.timestamp())
    width = max(1, -(-(last - first) // max(1, points)))  # seconds of one point, rounded up
    rows = database.execute(
        "SELECT at, low, high, count, different, score FROM counts JOIN series ON series.id = counts.series"
        " WHERE device = ? AND prompt = ? AND at BETWEEN ? AND ? ORDER BY at",
        (device, prompt, first, last),
    )
    found: list[CountPoint] = []
    span = None
    for at, low, high, count, unique, score in rows:
        if (at - first) // width == span:
            before = found.pop()
            low, high = min(low, before.low), max(high, before.high)
        span = (at - first) // width
        found.append(CountPoint(_utc(at), low, high, count, unique, score))
    return found


def audit(database: sqlite3.Connection, limit: int, before_id: int | None) -> list[AuditRow]:
    rows = database.execute(
        "SELECT id, at, user, action, device, target, detail FROM audit WHERE id < ?"
        " ORDER BY id DESC LIMIT ?",
        ((1 << 62) if before_id is None else before_id, limit),
    )
    return [AuditRow(number, _utc(at), *rest) for number, at, *rest in rows]


def last_sent(database: sqlite3.Connection) -> list[AuditRow]:
    """One row for each device; a list that did not go out leaves the one before it."""
    found: dict[str, list[AuditRow]] = {}
    rows = database.execute(
        "SELECT id, at, user, action, device, target, detail FROM audit WHERE action IN"
        " ('push', 'rollback', 'taken', 'refused', 'push: not sent', 'rollback: not sent') ORDER BY id"
    )
    for number, at, *rest in rows:
        row = AuditRow(number, _utc(at), *rest)
        last = found.setdefault(row.device, [])
        if not row.action.endswith(": not sent"):
            last[:] = [*last[-1:], row]
        elif last and last[-1].target == row.target:
            last.pop()
    return [last[-1] for last in found.values() if last]


def lists(database: sqlite3.Connection, device: str) -> list[KeptList]:
    rows = database.execute(
        "SELECT sha256, at, user, text FROM lists WHERE device = ? ORDER BY at DESC", (device,)
    )
    return [KeptList(sha256, _utc(at), user, text) for sha256, at, user, text in rows]


def _event(payload: bytes) -> Iterator[Event]:
    """The event; nothing where a version with other fields wrote it."""
    with contextlib.suppress(ValueError):
        yield Event.from_payload(payload)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
