"""Store and forward in SQLite: nothing leaves the drone but through here.

One process owns the file (SQLite's exclusive locking mode), any of its threads may call. What must not come
apart (an event, the retained copy of its alert, the alert's own state) is written inside one `transaction`.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from edge.outbox.bounds import Bounds, Limits
from edge.outbox.clears import Clears
from edge.outbox.file import OutboxFile
from edge.outbox.messages import KeptEvent, Kind, OutboxCounts, QueuedMessage
from firmware_cfg.errors import OutboxError

log = logging.getLogger(__name__)

__all__ = ["ROW_BYTES", "KeptEvent", "Kind", "Outbox", "OutboxCounts", "QueuedMessage"]

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
DEFAULT_MAX_AGE_S = 72 * 3600.0
DEFAULT_HISTORY_BYTES = 16 * 1024 * 1024
ROW_BYTES = 128  # what a row costs beside its topic and payload: columns, page slack, index entries


class Outbox:
    """The queue at `path`, made if missing. A damaged file is moved aside (the log names it) and replaced.

    `seq` counts on across restarts; `boot_id` names this opening.

    Args:
        max_bytes: bound of what is queued: beyond it the oldest telemetry goes, then the oldest updates.
            Raises and clears stay even beyond the bound.
        max_age_s: telemetry and updates that waited longer go, raises and clears stay.
        history_bytes: bound of the events kept for a replay after they were sent or shed; the oldest go.
        wall, monotonic: clocks, in seconds.

    Raises OutboxError: the file cannot be opened or written, another process holds it, or it is no outbox.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_age_s: float = DEFAULT_MAX_AGE_S,
        history_bytes: int = DEFAULT_HISTORY_BYTES,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.boot_id = uuid.uuid4().hex
        self.on_put: Callable[[], None] | None = None  # called after a commit that queued something
        self._wall, self._monotonic = wall, monotonic
        self._dirty = False
        self._taken: set[int] = set()  # acknowledged, but the disk would not let them be deleted
        self._file = OutboxFile(self.path)
        self._clears = Clears(self._file)
        self._bounds = Bounds(self._file, Limits(max_bytes, max_age_s, history_bytes))
        with self.transaction():
            self._file.run("INSERT OR REPLACE INTO meta VALUES ('boot_id', ?)", self.boot_id)
            self._bounds.shed_old(wall(), monotonic())
            self._bounds.trim_history()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """What is written inside is kept as one or, when the body raises, not at all. Inner ones join it.

        A `durable` one waits until a power cut cannot take it back, which is what alerts need.
        """
        with self._file.lock:
            if self._file.in_transaction:
                yield
                return
            before = self._bounds.tally
            try:
                with self._file.transaction(durable=durable):
                    yield
            except BaseException:
                self._bounds.tally = before
                self._dirty = False
                raise
            woken, self._dirty = self._dirty, False
        if woken and self.on_put is not None:
            self.on_put()

    def put(
        self,
        topic: str,
        payload: bytes | str,
        *,
        kind: Kind,
        retain: bool = False,
        event_id: str | None = None,
        seq: int | None = None,
        correlation: bytes | None = None,
    ) -> int:
        """Queues one message durably and returns its id. `seq` marks an event, to be kept for a replay.

        Retained telemetry and updates are state, of which only the newest counts: they replace an unsent row
        of the same topic and kind. Telemetry alone does not wait for the disk: a power cut may take it.

        Raises ValueError for an unknown kind or an event without event_id, OutboxError if it cannot be
        written (a full disk, for one).
        """
        if kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
        if seq is not None and event_id is None:
            raise ValueError("an event that has a seq needs an event_id")
        body = payload.encode() if isinstance(payload, str) else bytes(payload)
        size = len(topic.encode()) + len(body) + ROW_BYTES
        with self.transaction(durable=kind != "telemetry"):
            if kind == "alert" and not self._file.durable:
                raise ValueError("an alert belongs in a durable transaction")
            if retain and kind != "alert":
                self._bounds.remove("topic = ? AND kind = ? AND retain = 1", topic, kind)
            row = self._file.run(
                "INSERT INTO messages (topic, payload, qos, retain, kind, event_id, created, size, put_ns,"
                " boot_id, seq, correlation) VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(topic, body, int(retain), kind, event_id, self._wall(), size),
                *(int(self._monotonic() * 1e9), None if seq is None else self.boot_id, seq, correlation),
            ).lastrowid
            self._dirty = True
            self._bounds.shed_old(self._wall(), self._monotonic())
            self._bounds.added(size)
        assert row is not None  # sqlite3 sets it on every INSERT
        return row

    def next_seq(self) -> int:
        """The next event number, from 1; never given twice, not even after a crash."""
        with self.transaction():
            self._file.run("UPDATE meta SET value = value + 1 WHERE key = 'seq'")
            return self.last_seq()

    def last_seq(self) -> int:
        """The newest event number that was given; 0 before the first."""
        return int(self._file.one("SELECT value FROM meta WHERE key = 'seq'"))

    def done(self, *ids: int) -> None:
        """Forgets messages whose PUBACK came; events among them move to the history.

        An id that was shed or replaced in the meantime is no error. Nor is a disk that is full: the messages
        are not given out again, and go when it can be written; a restart before that sends them twice.
        """
        if not ids:
            return
        with self._file.lock:
            taken = self._taken | set(ids)
            try:
                with self.transaction(durable=False):
                    for message_id in taken:
                        self._bounds.remove("id = ?", message_id)
                    self._bounds.has_room()
            except OutboxError as error:
                if not self._taken:
                    log.error("%s; %d acknowledged messages stay in it for now", error, len(taken))
                self._taken = taken
                return
            self._taken.clear()

    def keep_alert(self, alert_id: str, state: str) -> None:
        """Remembers an active alert across a crash; belongs in the transaction that queues its event."""
        with self.transaction():
            self._file.run("INSERT OR REPLACE INTO alerts VALUES (?, ?)", alert_id, state)

    def drop_alert(self, alert_id: str) -> None:
        """Forgets an alert that was cleared."""
        with self.transaction():
            self._file.run("DELETE FROM alerts WHERE alert_id = ?", alert_id)

    def kept_alert(self, alert_id: str) -> str | None:
        """The state of one active alert; None where it is not active."""
        found = self._file.all("SELECT state FROM alerts WHERE alert_id = ?", alert_id)
        return str(found[0][0]) if found else None

    def kept_alerts(self) -> dict[str, str]:
        """Alert id -> state, of the alerts that were active when the outbox was last written."""
        return dict(self._file.all("SELECT alert_id, state FROM alerts ORDER BY alert_id"))

    def pending(self, limit: int = 100, *, after: int = 0) -> list[QueuedMessage]:
        """The oldest queued messages with an id above `after`, in the order in which they were put."""
        with self._file.lock:
            rows = self._file.all(
                "SELECT id, topic, payload, qos, retain, kind, event_id, created, correlation, put_ns"
                " FROM messages WHERE id > ? ORDER BY id LIMIT ?",
                *(after, limit + len(self._taken)),
            )
            now_ns = self._monotonic() * 1e9
            return [
                QueuedMessage(
                    *(number, topic, payload, qos, bool(retain), kind, event_id, created, correlation),
                    waited_s=None if number < self._bounds.first_id else max(0.0, (now_ns - put_ns) / 1e9),
                )
                for number, topic, payload, qos, retain, kind, event_id, created, correlation, put_ns in rows
                if number not in self._taken
            ][:limit]

    def waits(self, topic: str) -> bool:
        """Whether a message for `topic` is queued."""
        return bool(self._file.all("SELECT 1 FROM messages WHERE topic = ? LIMIT 1", topic))

    def queues_event(self, event_id: str) -> bool:
        """Whether the event is queued, for the first time or again."""
        return bool(self._file.all("SELECT 1 FROM messages WHERE event_id = ? LIMIT 1", event_id))

    def has_ended(self, alert_id: str) -> bool:
        """Whether the clear of an alert is queued, or was sent and kept; not to be asked in a transaction."""
        return self._clears.has(alert_id)

    def history(self, boot_id: str, first: int, last: int, *, limit: int = 1000) -> list[KeptEvent]:
        """Events numbered `first` to `last` under `boot_id` that are still there, in order, sent or not."""
        rows = self._file.all(
            "SELECT boot_id, seq, event_id, payload, sent FROM events"
            " WHERE boot_id = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
            *(boot_id, first, last, limit),
        )
        return [
            KeptEvent(boot, seq, event_id, payload, bool(sent)) for boot, seq, event_id, payload, sent in rows
        ]

    def counts(self) -> OutboxCounts:
        """What is queued now."""
        with self._file.lock:
            by_kind = dict(self._file.all("SELECT kind, count(*) FROM messages GROUP BY kind"))
            tally = self._bounds.tally
            return OutboxCounts(
                alert=by_kind.get("alert", 0),
                update=by_kind.get("update", 0),
                telemetry=by_kind.get("telemetry", 0),
                bytes=tally.bytes,
                shed_update=tally.shed_update,
                shed_telemetry=tally.shed_telemetry,
            )

    def close(self) -> None:
        """Closes the file; what is queued stays in it. May be called twice."""
        self._file.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
