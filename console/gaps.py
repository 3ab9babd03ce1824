"""Events that were missed, from the gaps in `seq`: what to ask a drone for again, and what is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from firmware_cfg.messages.replay import MAX_RANGES, ReplayAnswer, ReplayRequest

GRACE = timedelta(seconds=10)
"""A gap that is younger may be an event that is overtaken by the next one."""
ASK_AGAIN = timedelta(seconds=30)
MOST_TRIES = 4
MOST_MISSING = 100_000
"""Numbers that are looked for at once; a jump beyond that is a new outbox, or a drone that makes them up."""

_MOST_BOOTS = 16

Range = tuple[int, int]


@dataclass(slots=True)
class _Missing:
    """One gap. `boots` are the lives of the outbox that may have written it, the likelier first."""

    first: int
    last: int
    boots: tuple[str, ...]
    since: datetime
    tries: int = 0
    asked_at: datetime | None = None
    absent_in: set[str] = field(default_factory=set)


class SeqGaps:
    """The events of one drone. `seq` counts on where a new `boot_id` begins.

    What was missed where the boot changes may be of either: both are asked, in turn.
    """

    def __init__(self) -> None:
        self.lost = 0
        """Events that the drone has no more."""
        self._newest: tuple[str, int] | None = None
        self._missing: list[_Missing] = []
        self._boots: dict[str, None] = {}  # lives that were heard of, the oldest first

    @property
    def open(self) -> tuple[Range, ...]:
        """What is looked for, first and last number of each gap."""
        return tuple((gap.first, gap.last) for gap in self._missing)

    def saw(self, boot_id: str, seq: int, at: datetime, *, historical: bool = False) -> bool:
        """An event came; tells whether that changed what is missing. `historical`: it was sent again."""
        known = boot_id in self._boots
        if not historical:
            self._boots[boot_id] = None
            while len(self._boots) > _MOST_BOOTS:
                del self._boots[next(iter(self._boots))]
        if self._newest is None:
            self._newest = boot_id, seq  # what was before is not ours to know
            return False
        newest_boot, newest = self._newest
        if seq <= newest:
            # An outbox that was lost counts from 1 again, in a life that nobody has heard of.
            if newest - seq > MOST_MISSING or not (known or historical):
                self._newest, self._missing = (boot_id, seq), []
                return True
            return self._fill(seq)
        self._newest = boot_id, seq
        if seq == newest + 1:
            return False
        if seq - newest > MOST_MISSING:
            return False
        boots = (boot_id,) if boot_id == newest_boot else (newest_boot, boot_id)
        self._missing.append(_Missing(newest + 1, seq - 1, boots, at))
        return True

    def due(self, now: datetime) -> list[ReplayRequest]:
        """What to ask now; asking is noted. Gaps that were asked for in vain too often are lost."""
        wanted: dict[str, list[Range]] = {}
        for gap in list(self._missing):
            if now - gap.since < GRACE or (gap.asked_at is not None and now - gap.asked_at < ASK_AGAIN):
                continue
            if gap.tries >= MOST_TRIES:
                self._give_up(gap)
                continue
            boot = gap.boots[gap.tries % len(gap.boots)]
            if len(wanted.setdefault(boot, [])) < MAX_RANGES:
                wanted[boot].append((gap.first, gap.last))
                gap.tries, gap.asked_at = gap.tries + 1, now
        return [
            ReplayRequest(boot_id=boot, ranges=tuple(ranges)) for boot, ranges in wanted.items() if ranges
        ]

    def answered(self, answer: ReplayAnswer) -> None:
        """The drone says what it has no more. What it sends comes as events."""
        for first, last in answer.missing:
            for gap in list(self._missing):
                if first <= gap.first and gap.last <= last:
                    gap.absent_in.add(answer.boot_id)
                    if gap.absent_in >= set(gap.boots):
                        self._give_up(gap)
                elif gap.first <= last and first <= gap.last:
                    self._split(gap, max(first, gap.first), min(last, gap.last), answer.boot_id)
        for first, last in answer.left:  # too many for one answer: the rest is asked for at once
            for gap in self._missing:
                if gap.first <= last and first <= gap.last:
                    gap.tries, gap.asked_at = 0, None

    def _split(self, gap: _Missing, first: int, last: int, boot_id: str) -> None:
        """Part of a gap is not kept: it is looked for by itself from here on."""
        self._missing.remove(gap)
        for low, high in ((gap.first, first - 1), (first, last), (last + 1, gap.last)):
            if low > high:
                continue
            part = _Missing(low, high, gap.boots, gap.since, gap.tries, gap.asked_at, set(gap.absent_in))
            self._missing.append(part)
            if (low, high) == (first, last):
                part.absent_in.add(boot_id)
                if part.absent_in >= set(part.boots):
                    self._give_up(part)

    def _fill(self, seq: int) -> bool:
        for gap in self._missing:
            if gap.first <= seq <= gap.last:
                self._missing.remove(gap)
                for low, high in ((gap.first, seq - 1), (seq + 1, gap.last)):
                    if low <= high:
                        # The drone has some of it, so that the rest has all its tries again.
                        rest = (gap.boots, gap.since, 0, gap.asked_at, set(gap.absent_in))
                        self._missing.append(_Missing(low, high, *rest))
                return True
        return False

    def _give_up(self, gap: _Missing) -> None:
        self._missing.remove(gap)
        self.lost += gap.last - gap.first + 1
