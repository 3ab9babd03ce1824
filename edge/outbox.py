"""Store and forward in SQLite: nothing leaves the drone but through here.

One process owns the file (SQLite's exclusive locking mode), any of its threads may call. What must not come
apart (an event, the retained copy of its alert, the alert's own state) is written inside one `transaction`.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from edge.outbox_file import cannot, open_outbox_file

log = logging.getLogger(__name__)

Kind = Literal["alert", "update", "telemetry"]
SHED_FIRST: tuple[Kind, ...] = ("telemetry", "update")  # raise and clear ("alert") are never shed
DEFAULT_MAX_BYTES = 64 * 1024 * 1024
ROW_BYTES = 128  # what a row costs beside its topic and payload: columns, page slack, index entries


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message that waits for its PUBACK. `created` is when it was put, in seconds since the epoch."""

    id: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    kind: Kind
    event_id: str | None
    created: float


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """Messages queued by kind, the bytes they take, and what was shed since the outbox was opened."""

    alert: int
    update: int
    telemetry: int
    bytes: int
    shed_update: int
    shed_telemetry: int

    @property
    def queued(self) -> int:
        return self.alert + self.update + self.telemetry


class Outbox:
    """The queue at `path`, made if missing. A damaged file is moved aside (the log names it) and replaced.

    `max_bytes` bounds what is queued: beyond it the oldest telemetry goes, then the oldest updates. Raises
    and clears stay even beyond the bound. `seq` counts on across restarts; `boot_id` names this opening.

    Raises OutboxError: the file cannot be opened or written, another process holds it, or it is no outbox.
    """

    def __init__(self, path: Path | str, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.boot_id = uuid.uuid4().hex
        self.on_put: Callable[[], None] | None = None  # called after a commit that queued something
        self._lock = threading.RLock()
        self._in_transaction = False
        self._dirty = False
        self._shed_counts: dict[Kind, int] = dict.fromkeys(SHED_FIRST, 0)
        self._shedding = False
        self._db = open_outbox_file(self.path)
        self._bytes: int = self._one("SELECT coalesce(sum(size), 0) FROM messages")
        with self.transaction():
            self._run("INSERT OR REPLACE INTO meta VALUES ('boot_id', ?)", self.boot_id)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written inside is kept as one or, when the body raises, not at all. Inner ones join it."""
        with self._lock:
            if self._in_transaction:
                yield
                return
            self._run("BEGIN IMMEDIATE")
            self._in_transaction = True
            before = (self._bytes, dict(self._shed_counts), self._shedding)
            try:
                yield
                self._run("COMMIT")
            except BaseException:
                self._bytes, self._shed_counts, self._shedding = before
                self._dirty = False
                self._roll_back()
                raise
            finally:
                self._in_transaction = False
            woken, self._dirty = self._dirty, False
        if woken and self.on_put is not None:
            self.on_put()

    def put(
        self,
        topic: str,
        payload: bytes | str,
        *,
        kind: Kind,
        qos: int = 1,
        retain: bool = False,
        event_id: str | None = None,
    ) -> int:
        """Queues one message durably and returns its id.

        Retained telemetry and updates are state, of which only the newest counts: they replace an unsent row
        of the same topic and kind. Raises ValueError for a QoS but 0 and 1 or an unknown kind, OutboxError if
        it cannot be written (a full disk, for one).
        """
        if qos not in (0, 1):
            raise ValueError(f"qos must be 0 or 1, got {qos}")
        if kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
        body = payload.encode() if isinstance(payload, str) else bytes(payload)
        size = len(topic.encode()) + len(body) + ROW_BYTES
        with self.transaction():
            if retain and kind != "alert":
                self._delete("topic = ? AND kind = ? AND retain = 1", topic, kind)
            row = self._run(
                "INSERT INTO messages (topic, payload, qos, retain, kind, event_id, created, size)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                *(topic, body, qos, int(retain), kind, event_id, time.time(), size),
            ).lastrowid
            self._bytes += size
            self._dirty = True
            self._shed()
        assert row is not None  # sqlite3 sets it on every INSERT
        return row

    def next_seq(self) -> int:
        """The next event number, from 1; never given twice, not even after a crash."""
        with self.transaction():
            self._run("UPDATE meta SET value = value + 1 WHERE key = 'seq'")
            return int(self._one("SELECT value FROM meta WHERE key = 'seq'"))

    def done(self, *ids: int) -> None:
        """Forgets messages whose PUBACK came. An id that was shed or replaced in the meantime is no error."""
        if not ids:
            return
        with self.transaction():
            for message_id in ids:
                self._delete("id = ?", message_id)
            if self._shedding and self._bytes <= self.max_bytes // 2:
                self._shedding = False
                log.info("outbox %s: has room again, nothing is shed any more", self.path)

    def keep_alert(self, alert_id: str, state: str) -> None:
        """Remembers an active alert across a crash; belongs in the transaction that queues its event."""
        with self.transaction():
            self._run("INSERT OR REPLACE INTO alerts VALUES (?, ?)", alert_id, state)

    def drop_alert(self, alert_id: str) -> None:
        """Forgets an alert that was cleared."""
        with self.transaction():
            self._run("DELETE FROM alerts WHERE alert_id = ?", alert_id)

    def pending(self, limit: int = 100, *, after: int = 0) -> list[QueuedMessage]:
        """The oldest queued messages with an id above `after`, in the order in which they were put."""
        rows = self._all(
            "SELECT id, topic, payload, qos, retain, kind, event_id, created FROM messages"
            " WHERE id > ? ORDER BY id LIMIT ?",
            *(after, limit),
        )
        return [
            QueuedMessage(number, topic, payload, qos, bool(retain), kind, event_id, created)
            for number, topic, payload, qos, retain, kind, event_id, created in rows
        ]

    def kept_alerts(self) -> dict[str, str]:
        """Alert id -> state, of the alerts that were active when the outbox was last written."""
        return dict(self._all("SELECT alert_id, state FROM alerts ORDER BY alert_id"))

    def counts(self) -> OutboxCounts:
        """What is queued now."""
        with self._lock:
            by_kind = dict(self._all("SELECT kind, count(*) FROM messages GROUP BY kind"))
            return OutboxCounts(
                alert=by_kind.get("alert", 0),
                update=by_kind.get("update", 0),
                telemetry=by_kind.get("telemetry", 0),
                bytes=self._bytes,
                shed_update=self._shed_counts["update"],
                shed_telemetry=self._shed_counts["telemetry"],
            )

    def close(self) -> None:
        """Closes the file; what is queued stays in it. May be called twice."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _shed(self) -> None:
        for kind in SHED_FIRST:
            while self._bytes > self.max_bytes:
                oldest = self._one("SELECT min(id) FROM messages WHERE kind = ?", kind)
                if oldest is None:
                    break
                self._delete("id = ?", oldest)
                self._shed_counts[kind] += 1
                if not self._shedding:
                    self._shedding = True
                    log.warning(
                        "outbox %s: full (%d bytes): sheds the oldest telemetry, then updates; keeps alerts",
                        *(self.path, self.max_bytes),
                    )

    def _delete(self, where: str, *values: Any) -> None:
        # RETURNING needs SQLite 3.35; the oldest system this runs on, Ubuntu 22.04, has 3.37.
        gone = self._all(f"DELETE FROM messages WHERE {where} RETURNING size", *values)
        self._bytes -= sum(size for (size,) in gone)

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        with self._lock:
            try:
                return self._db.execute(statement, values)
            except sqlite3.Error as error:
                raise cannot(self.path, error) from error

    def _all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise cannot(self.path, error) from error

    def _one(self, statement: str, *values: Any) -> Any:
        return self._all(statement, *values)[0][0]

    def _roll_back(self) -> None:
        try:
            # After some errors, such as a full disk, SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.error("outbox %s: cannot roll back: %s", self.path, error)
