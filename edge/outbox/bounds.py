"""What leaves the outbox and why: acknowledged, too much, too old; and the events kept after that."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from edge.outbox.file import OutboxFile
from edge.outbox.messages import SHED_FIRST, Kind

log = logging.getLogger(__name__)

AGE_CHECKS = 16  # how often within the greatest age it is looked for what has passed it
CLOCK_WAS_SET_S = 1_704_067_200.0  # 2024: a board without a battery starts in 1970, which tells no age


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of the queue, seconds in it, and bytes of the events that are kept when they have left it."""

    max_bytes: int
    max_age_s: float
    history_bytes: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What is in the file, known without asking it, and what was shed since it was opened."""

    bytes: int
    history_bytes: int
    shed_update: int = 0
    shed_telemetry: int = 0
    shedding: bool = False


class Bounds:
    """Holds an outbox's file to its limits. Every method belongs in a transaction of that file.

    `tally` must be put back by whoever undoes the transaction.
    """

    def __init__(self, file: OutboxFile, limits: Limits) -> None:
        self._file = file
        self._limits = limits
        last_id = file.one("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
        self.first_id = 1 + (last_id or 0)  # of what is put from now on; below it clocks cannot be compared
        self._next_check = float("-inf")
        self._bytes, self._history_bytes = (
            int(file.one(f"SELECT coalesce(sum(size), 0) FROM {table}")) for table in ("messages", "history")
        )
        self._shed: dict[Kind, int] = dict.fromkeys(SHED_FIRST, 0)
        self._shedding = False

    @property
    def tally(self) -> Tally:
        shed = self._shed
        return Tally(
            self._bytes, self._history_bytes, shed["update"], shed["telemetry"], shedding=self._shedding
        )

    @tally.setter
    def tally(self, before: Tally) -> None:
        self._bytes, self._history_bytes = before.bytes, before.history_bytes
        self._shed = {"update": before.shed_update, "telemetry": before.shed_telemetry}
        self._shedding = before.shedding

    def added(self, size: int) -> None:
        """Books a message of `size` bytes that was put, and makes room for it."""
        self._bytes += size
        for kind in SHED_FIRST:
            while self._bytes > self._limits.max_bytes:
                oldest = self._file.one("SELECT min(id) FROM messages WHERE kind = ?", kind)
                if oldest is None:
                    break
                self._shed[kind] += self.remove("id = ?", oldest)
                if not self._shedding:
                    self._shedding = True
                    log.warning(
                        "outbox %s: full (%d bytes): sheds the oldest telemetry, then updates; keeps alerts",
                        *(self._file.path, self._limits.max_bytes),
                    )

    def has_room(self) -> None:
        """To be called after removals: says once that the shedding is over."""
        if self._shedding and self._bytes <= self._limits.max_bytes // 2:
            self._shedding = False
            log.info("outbox %s: has room again, nothing is shed any more", self._file.path)

    def shed_old(self, wall_s: float, monotonic_s: float) -> None:
        """Sheds telemetry and updates that are too old; looks only now and then.

        What was put since the outbox was opened is judged by the monotonic clock. For the rest there is only
        the wall clock, so a time before anybody set it tells nothing, and what bears it stays.
        """
        if monotonic_s < self._next_check:
            return
        age_s = self._limits.max_age_s
        self._next_check = monotonic_s + age_s / AGE_CHECKS
        for kind in SHED_FIRST:
            gone = self.remove(
                "kind = ? AND id >= ? AND put_ns < ?",
                *(kind, self.first_id, int((monotonic_s - age_s) * 1e9)),
            ) + self.remove(
                "kind = ? AND id < ? AND created BETWEEN ? AND ?",
                *(kind, self.first_id, CLOCK_WAS_SET_S, wall_s - age_s),
            )
            self._shed[kind] += gone
            if gone:
                what = (self._file.path, gone, kind, age_s / 3600)
                log.warning("outbox %s: %d messages (%s) waited more than %.3g h and were shed", *what)

    def remove(self, where: str, *values: Any) -> int:
        """Takes messages out of the queue, and keeps the events among them; returns how many went."""
        # RETURNING needs SQLite 3.35; the oldest system this runs on, Ubuntu 22.04, has 3.37.
        gone = self._file.all(
            f"DELETE FROM messages WHERE {where} RETURNING size, id, boot_id, seq, event_id, payload", *values
        )
        for size, *event in gone:
            self._bytes -= size
            if event[2] is not None:
                # What salvage took from a damaged file may be there already: no event may hold up the queue.
                kept = self._file.run("INSERT OR IGNORE INTO history VALUES (?, ?, ?, ?, ?, ?)", *event, size)
                self._history_bytes += size * kept.rowcount
        self.trim_history()
        return len(gone)

    def trim_history(self) -> None:
        """Forgets the oldest events beyond the bound of the history."""
        while self._history_bytes > self._limits.history_bytes:
            ((size,),) = self._file.all(
                "DELETE FROM history WHERE id = (SELECT min(id) FROM history) RETURNING size"
            )
            self._history_bytes -= size
