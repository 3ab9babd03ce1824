"""Counts on their way into the history: many messages become one row for each span of time."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TypeAlias

from console.store import FINE_S
from firmware_cfg.messages import Counts

MOST_SPANS = 100_000
"""Spans that wait in memory while nothing can be written; then the oldest go."""

SpanKey: TypeAlias = tuple[str, str, str, int]
"""Device, prompt, kind, and the unix time at which the span begins."""


@dataclass(slots=True)
class Span:
    """Counts of one prompt over FINE_S seconds: the extremes, and the last of everything."""

    low: int
    high: int
    count: int = 0
    different: int = 0
    score: float = 0.0


Finished: TypeAlias = tuple[SpanKey, Span]


class CountSpans:
    """Not thread-safe: whoever shares it brings a lock."""

    def __init__(self) -> None:
        self._spans: OrderedDict[SpanKey, Span] = OrderedDict()

    def put(self, counts: Counts, at: float) -> int:
        """Take in counts that came at the unix time `at`; returns how many spans went for lack of room."""
        key = (counts.device, counts.prompt, counts.kind, int(at) // FINE_S * FINE_S)
        span = self._spans.get(key)
        if span is None:
            span = self._spans[key] = Span(counts.count, counts.count)
        span.low, span.high = min(span.low, counts.count), max(span.high, counts.count)
        span.count, span.different, span.score = counts.count, counts.unique, counts.score
        if len(self._spans) <= MOST_SPANS:
            return 0
        self._spans.popitem(last=False)
        return 1

    def over(self, now: float) -> list[Finished]:
        """Spans that are over at the unix time `now`; all of them where that is infinite."""
        return [
            (key, replace(span)) for key, span in self._spans.items() if not key[3] <= now < key[3] + FINE_S
        ]

    def written(self, spans: list[Finished]) -> None:
        """They are in the file; one that changed meanwhile is written again, and the file joins the two."""
        for key, span in spans:
            if self._spans.get(key) == span:
                del self._spans[key]


def insert_spans(database: sqlite3.Connection, spans: list[Finished]) -> None:
    """Belongs in a transaction. Raises sqlite3.Error."""
    for (device, prompt, kind, at), span in spans:
        database.execute(
            "INSERT OR IGNORE INTO series (device, prompt, kind) VALUES (?, ?, ?)", (device, prompt, kind)
        )
        database.execute(
            "INSERT INTO counts SELECT id, 0, ?, ?, ?, ?, ?, ? FROM series WHERE device = ? AND prompt = ?"
            " AND kind = ? ON CONFLICT DO UPDATE SET low = min(low, excluded.low),"
            " high = max(high, excluded.high), count = excluded.count, different = excluded.different,"
            " score = excluded.score",
            (at, span.low, span.high, span.count, span.different, span.score, device, prompt, kind),
        )
