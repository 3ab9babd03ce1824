"""What was, in SQLite: events, what operators did, counts over time. The live view never waits for it.

Whatever is put is queued in memory and written by a thread of its own, some times a second. While the file
cannot be written (locked, full), that is told, the queue waits, and beyond its bound the oldest go.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from console import queries, retention
from console.alerts import AlertKey
from console.queries import AuditRow, CountPoint, CountSeries, KeptList
from console.spans import CountSpans, Finished, insert_spans
from console.store import HistoryError, open_database
from firmware_cfg.messages import AlertAct, Counts, Event

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.5
TEND_EVERY_S = 60.0
MOST_WAITING = 100_000  # events, acts and the like; and as many spans of counts
MOST_WAITING_BYTES = 256 * 1024 * 1024
MOST_LISTS = 20  # of one drone
_MOST_AT_ONCE = 5000

Found = TypeVar("Found")
_Statement = tuple[str, tuple[Any, ...]]


class History:
    """`path` is made if missing. `put...` is for one thread, the rest for any; `close` at the end.

    Args:
        keep: how long, and how much.
        on_problem: told why nothing can be written, once, and "" when it works again; in the writer's thread.

    Raises HistoryError: it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep: retention.Keep = retention.Keep(),  # noqa: B008 - frozen
        on_problem: Callable[[str], None] = lambda problem: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.dropped = 0
        """Rows that went because the file could not be written for too long."""
        self._keep = keep
        self._on_problem = on_problem
        self._clock = clock
        self._problem = ""
        self._writes = open_database(path)
        self._reads = open_database(path, read_only=True)
        self._reading = threading.Lock()
        self._lock = threading.Lock()
        self._rows: deque[_Statement] = deque()
        self._bytes = 0  # of those
        self._spans = CountSpans()
        self._wake = threading.Event()
        self._stopping = False
        self._flushes = 0
        self._flushed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def put_event(self, event: Event, at: datetime) -> None:
        """An event that came at `at`; one that is known already changes nothing."""
        self._put(
            "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(event.event_id, event.device, event.alert_id, event.boot_id, event.seq),
            *(event.observed_at.timestamp(), at.timestamp(), event.to_payload()),
        )

    def put_act(self, key: AlertKey, act: AlertAct) -> None:
        """What an operator did about an alert."""
        payload = act.model_dump_json().encode()
        self._put("INSERT OR IGNORE INTO acts VALUES (?, ?, ?, ?)", *key, act.at.timestamp(), payload)

    def put_counts(self, counts: Counts, at: datetime) -> None:
        """Counts that came at `at`, by which they are kept: the drone's clock may be anywhere."""
        with self._lock:
            self.dropped += self._spans.put(counts, at.timestamp())

    def put_audit(self, user: str, action: str, device: str, target: str = "", detail: str = "") -> None:
        """Somebody did something. It is in the log, too, should the file not take it."""
        log.info("audit: %s: %s %s %s %s", user, action, device, ascii(target), ascii(detail[:200]))
        self._put(
            "INSERT INTO audit (at, user, action, device, target, detail) VALUES (?, ?, ?, ?, ?, ?)",
            *(self._clock(), user, action, device, target, detail),
        )

    def put_list(self, device: str, sha256: str, text: str, user: str, at: datetime) -> None:
        """A prompt list that a drone flew; the newest time it was seen to counts."""
        self._put(
            "INSERT OR REPLACE INTO lists VALUES (?, ?, ?, ?, ?)",
            *(device, sha256, at.timestamp(), user, text),
        )
        self._put(
            "DELETE FROM lists WHERE device = ?1 AND sha256 NOT IN"
            " (SELECT sha256 FROM lists WHERE device = ?1 ORDER BY at DESC LIMIT ?2)",
            *(device, MOST_LISTS),
        )

    def events(self, device: str | None = None, alert_id: str | None = None, limit: int = 200) -> list[Event]:
        """The newest events, oldest first. This and all below raise HistoryError."""
        return self._read(lambda file: queries.events(file, device, alert_id, limit))

    def received(self, since: datetime, limit: int) -> list[tuple[datetime, Event]]:
        """The newest events and when they came, oldest first."""
        return self._read(lambda file: queries.received(file, since, limit))

    def acts(self, since: datetime) -> list[tuple[AlertKey, AlertAct]]:
        """What operators did, oldest first."""
        return self._read(lambda file: queries.acts(file, since))

    def has_event(self, event_id: str) -> bool:
        """Whether it was written; also False where the file cannot be read."""
        try:
            return self._read(lambda file: queries.has_event(file, event_id))
        except HistoryError:
            return False

    def count_series(self) -> list[CountSeries]:
        """Of what there are counts."""
        return self._read(queries.count_series)

    def counts(
        self, device: str, prompt: str, since: datetime, until: datetime, points: int = 500
    ) -> list[CountPoint]:
        """Counts over time, oldest first, about `points` at most; low and high bound what they hide."""
        return self._read(lambda file: queries.counts(file, device, prompt, since, until, points))

    def audit(self, limit: int = 100, before_id: int | None = None) -> list[AuditRow]:
        """The newest entries first."""
        return self._read(lambda file: queries.audit(file, limit, before_id))

    def last_sent(self) -> list[AuditRow]:
        """What was done last about the list of each drone: push, rollback, taken, refused."""
        return self._read(queries.last_sent)

    def lists(self, device: str) -> list[KeptList]:
        """Prompt lists that a drone has flown, the newest first."""
        return self._read(lambda file: queries.lists(file, device))

    def flush(self, timeout: float = 5.0) -> bool:
        """Have all that was put written; False where that did not happen in time."""
        with self._flushed:
            wanted = self._flushes + 1
            self._wake.set()
            return self._flushed.wait_for(lambda: self._flushes >= wanted and not self._rows, timeout)

    def close(self) -> None:
        """Write what waits, once, and close."""
        self._stopping = True
        self._wake.set()
        self._thread.join(10.0)
        with self._reading:
            self._reads.close()

    def _put(self, statement: str, *values: Any) -> None:
        with self._lock:
            self._rows.append((statement, values))
            self._bytes += _size(values)
            while len(self._rows) > MOST_WAITING or (
                self._bytes > MOST_WAITING_BYTES and len(self._rows) > 1
            ):
                self._bytes -= _size(self._rows.popleft()[1])
                self.dropped += 1

    def _read(self, query: Callable[[sqlite3.Connection], Found]) -> Found:
        with self._reading:
            try:
                return query(self._reads)
            except sqlite3.Error as error:
                raise HistoryError(f"{self.path}: cannot be read: {error}") from error

    def _run(self) -> None:
        tend_at = time.monotonic() + TEND_EVERY_S
        stopping = False
        while not stopping:
            self._wake.wait(WRITE_EVERY_S)
            everything = self._wake.is_set()
            self._wake.clear()
            stopping = self._stopping  # asked before the write, so that what came during one has another
            self._try(lambda everything=everything or stopping: self._write(everything=everything))  # type: ignore[misc]
            if time.monotonic() >= tend_at:
                tend_at = time.monotonic() + TEND_EVERY_S
                self._try(lambda: retention.tend(self._writes, self._keep, self._clock()))
        self._writes.close()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
            problem = ""
        except sqlite3.Error as error:
            problem = f"{self.path}: {error}; the history waits in memory"
        except Exception:  # a mistake in one row must not end the thread that writes all others
            log.exception("%s: not written", self.path)
            problem = f"{self.path}: unexpected error, see the log"
        if problem != self._problem:
            self._problem = problem
            log.warning("%s", problem or f"{self.path}: written again")
            self._on_problem(problem)

    def _write(self, *, everything: bool) -> None:
        """All that waits, in batches, and the spans of counts that are over. Raises sqlite3.Error."""
        while True:
            with self._lock:
                rows = [self._rows[index] for index in range(min(len(self._rows), _MOST_AT_ONCE))]
                spans = self._spans.over(math.inf if everything else self._clock())
            if rows or spans:
                retention.in_one(self._writes, lambda rows=rows, spans=spans: self._insert(rows, spans))  # type: ignore[misc]
            with self._lock:
                for row in rows:  # the bound may have dropped some of them meanwhile
                    if self._rows and self._rows[0] is row:
                        self._bytes -= _size(self._rows.popleft()[1])
                self._spans.written(spans)
                rest = len(self._rows)
            if not rest:
                break
        with self._flushed:
            self._flushes += 1
            self._flushed.notify_all()

    def _insert(self, rows: list[_Statement], spans: list[Finished]) -> None:
        for statement, values in rows:
            with self._left_out_if_too_large():
                self._writes.execute(statement, values)
        for span in spans:
            with self._left_out_if_too_large():
                insert_spans(self._writes, [span])

    @contextmanager
    def _left_out_if_too_large(self) -> Iterator[None]:
        """A number that SQLite cannot hold costs its own row, not all that wait behind it."""
        try:
            yield
        except OverflowError as error:
            self.dropped += 1
            log.error("%s: a row is left out: %s", self.path, error)


def _size(values: tuple[Any, ...]) -> int:
    return sum(len(value) for value in values if isinstance(value, (bytes, str)))
