"""A fault kind, the table of them, and how one is flown and judged."""

from __future__ import annotations

import functools
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults.judge import Step, judge
from benchmarks.faults.script import Script
from benchmarks.faults.world import Stuck, World, true_steps

Act = Callable[[World], None]

FAULTS: dict[str, Fault] = {}


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: for the table and `--only`.
        act: does the harm, and mends it, while the world flies. It begins the flight itself where
            `cold` is set.
        breaks: alerts may be ended with `restart` (or such) and raised again.
        said: patterns that the daemon's log must match: a clear message.
        needs: why this fault cannot be tried on this machine, or None.
        options: for `World`.
    """

    name: str
    act: Act
    breaks: bool = False
    cold: bool = False
    said: tuple[str, ...] = ()
    needs: Callable[[], str | None] = lambda: None
    script: Script = Script()  # noqa: RUF009 - frozen
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """A line of the table. `doubled` and `lost` must be 0, `problems` empty."""

    fault: str
    tries: int = 1
    expected: int = 0
    received: int = 0
    lost: int = 0
    doubled: int = 0
    copies: int = 0
    pairs: int = 0
    restarts: int = 0
    recovery_s: float | None = None
    slowest_s: float | None = None
    problems: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, doubled or stuck."""
        return not (self.lost or self.doubled or self.problems)


def fault(name: str, **options: Any) -> Callable[[Act], Act]:
    """Enter a function into `FAULTS`. Fields of `Fault` are taken by name, all else goes to `World`."""
    own = {key: options.pop(key) for key in list(options) if key in Fault.__slots__}

    def enter(act: Act) -> Act:
        FAULTS[name] = Fault(name, act, options=options, **own)
        return act

    return enter


@functools.cache
def truth_of(script: Script) -> tuple[Step, ...]:
    """What an uninterrupted run over `script` sends. Flown once."""
    return tuple(true_steps(script))


def fly(kind: Fault) -> Row:
    """Fly under one fault, and judge what the control room got."""
    row = Row(kind.name)
    if (reason := kind.needs()) is not None:
        row.skipped = reason
        return row
    expected = truth_of(kind.script)
    with World(kind.script, **kind.options) as world:
        try:
            if not kind.cold:
                world.begin()
            kind.act(world)
            world.land(len(expected))
            row.problems += aftermath(world)
        except Stuck as stuck:
            row.problems.append(f"stuck: {stuck}")
        book(row, world, expected, breaks=kind.breaks)
        row.problems += [f"never said: {said!r}" for said in kind.said if re.search(said, world.log) is None]
        if not row.passed:
            row.problems.append(f"log kept at {world.keep_log(kind.name)}")
    return row


def book(row: Row, world: World, expected: tuple[Step, ...], *, breaks: bool) -> None:
    """Add what one flight brought to `row`."""
    verdict = judge(expected, _own_events(world), breaks=breaks)
    row.expected += verdict.expected
    row.received += verdict.received
    row.lost += verdict.lost
    row.doubled += verdict.doubled
    row.copies += verdict.copies
    row.pairs += verdict.resumed_pairs
    row.restarts += world.daemon.restarts
    row.problems += verdict.problems + world.notes
    if world.recoveries:
        row.recovery_s = statistics.median(world.recoveries)
        row.slowest_s = max(world.recoveries)


def _own_events(world: World) -> list[dict[str, Any]]:
    """Without those of `leave_out`, and without what the daemon said of alerts which those raised."""
    events = world.room.events()
    strange = {event["alert_id"] for event in events if _raised_by(event, world.leave_out)}
    return [e for e in events if e["boot_id"] not in world.leave_out and e["alert_id"] not in strange]


def _raised_by(event: dict[str, Any], boots: set[str]) -> bool:
    return event["msg_type"] == "raise" and event["boot_id"] in boots


def aftermath(world: World) -> list[str]:
    """What must hold after every flight that ended well, whatever happened in it."""
    problems = []
    retained = world.retained()
    alerts = [topic for topic in retained if "/alerts/" in topic]
    if alerts:
        problems.append(f"{len(alerts)} retained alerts are left over")
    state = next((body for topic, body in retained.items() if topic.endswith("/status")), b"")
    if b'"stopped"' not in state:
        problems.append(f"the retained status is {state[:80]!r}, not stopped")
    if "Traceback" in world.log:
        problems.append("a traceback in the daemon's log")
    if world.daemon.left_behind:
        problems.append(f"{world.daemon.left_behind} lives left processes behind")
    if world.room.gaps():
        problems.append(f"{len(world.room.gaps())} numbers of events are still missing")
    return problems
