"""What is done to the fleet and its broker, one after the other, and what is measured meanwhile."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.fleet.fleet import Fleet, Worker
from benchmarks.fleet.results import Far, Files, Flood, Step, Storm
from benchmarks.fleet.room import Come, Go, Heard
from benchmarks.fleet.tally import Tally
from firmware_cfg.topics import ALL_DEVICES

PATIENCE_S = 120.0
LATE_S = 1.0  # an event that comes later than this, at the 99th percentile, is no alert any more
_BEHIND = 0.95  # share of what was offered that must have arrived
_FULL = 0.9  # share of a core that counts as all of it
_POLL_S = 0.2


def storm(fleet: Fleet, what: str, begin: Callable[[], float]) -> Storm:
    """Waits until all are online. `begin` makes that possible, and returns from when on it was."""
    fleet.reports()
    pid, before = fleet.broker.pid, fleet.usage().cpu_s
    start = begin()
    before = before if fleet.broker.pid == pid else 0.0
    tries: list[float] = []
    online: list[float] = []
    deadline = time.monotonic() + PATIENCE_S
    while True:
        report = fleet.reports()
        tries += report.tally.tries
        online += report.tally.online
        if report.online == fleet.options.devices or time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    usage = fleet.usage()
    seconds = sorted(moment - start for moment in online)
    devices = fleet.options.devices
    within = Counter(int(moment - start) for moment in tries if moment >= start)
    return Storm(
        what,
        devices,
        report.online,
        _reached(seconds, 0.5 * devices),
        _reached(seconds, 0.95 * devices),
        _reached(seconds, devices),
        len(tries),
        max(within.values(), default=0),
        usage.cpu_s - before,
        usage.rss_mib,
    )


def ramp(fleet: Fleet, room: Worker, rates: Sequence[float], step_s: float) -> Iterator[Step]:
    """One rate after the other, until one is too much."""
    for rate in rates:
        fleet.load(rate)
        step = measure(fleet, room, rate, step_s)
        yield step
        if step.broke:
            return


def measure(fleet: Fleet, room: Worker, rate: float, seconds: float) -> Step:
    """What comes of the load that there is, for so many seconds."""
    generators, heard = fleet.reports(), room.ask()
    broker, busy = fleet.usage(), fleet.busy_s()
    time.sleep(seconds)
    busy = fleet.busy_s() - busy
    after, now = fleet.usage(), room.ask()
    report = fleet.reports()
    took = after.at - broker.at
    p50, p95, p99, most = _milliseconds(now.latency_s, 50, 95, 99, 100)
    step = Step(
        offered=rate,
        received=now.events / took,
        messages=now.messages / took,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        most_ms=most,
        generator_ms=_milliseconds(report.late_s, 99)[0],
        broker_cores=after.cpu_since(broker),
        generator_cores=(report.cpu_s - generators.cpu_s) / took,
        room_cores=(now.cpu_s - heard.cpu_s) / took,
        machine_cores=busy / took,
        rss_mib=after.rss_mib,
        queued=report.queued,
        missing=now.missing - heard.missing,
        broke="",
    )
    return _judged(step)


def _judged(step: Step) -> Step:
    """The same with what broke, and who was busy then."""
    if step.missing > 0:
        broke = "events dropped: the control room's queue at the broker is full"
    elif step.received < _BEHIND * step.offered or step.p99_ms > LATE_S * 1e3:
        parts = {
            "broker": step.broker_cores,
            "generator": step.generator_cores,
            "control room": step.room_cores,
        }
        full = [f"{name}'s one core" for name, cores in parts.items() if cores > _FULL]
        cores = len(os.sched_getaffinity(0))
        if not full and step.machine_cores > _FULL * cores:
            ours = sum(parts.values())
            full = [f"the machine ({ours:.1f} of {cores} cores by broker, generator and control room)"]
        broke = f"late: {', '.join(full)} is full" if full else "late, and no processor is full"
    else:
        broke = ""
    return replace(step, broke=broke)


def late_room(fleet: Fleet) -> Flood:
    """A control room that has never been there subscribes to everything: all that is retained comes."""
    room = fleet.room("late-room")
    heard = until_quiet(room, lambda heard: heard.retained)
    fleet.dismiss(room)
    seconds = max(0.0, heard.last_retained_at - heard.subscribed)
    size = heard.received_bytes / 2**20
    return Flood(
        "retained, to a new subscriber", 0.0, 0, heard.retained, size, seconds, 0, fleet.usage().rss_mib, 0.0
    )


def away_room(
    fleet: Fleet, live: Worker, what: str, filters: tuple[str, ...], rate: float, seconds: float
) -> Flood:
    """A control room with a kept session is away while the fleet tells `rate` events a second; it returns.

    `live` is one that stays, and whose latency meanwhile is measured.
    """
    calm(fleet)
    room = fleet.room(f"away-room-{what}", filters=filters, kept=True)
    until_quiet(room, lambda heard: heard.messages)
    room.tell(Go())
    fleet.reports(), live.ask()
    fleet.load(rate)
    time.sleep(seconds)
    told = calm(fleet)
    meanwhile, usage = live.ask(), fleet.usage()
    room.tell(Come())
    heard = until_quiet(room, lambda heard: heard.messages)
    fleet.dismiss(room)
    return Flood(
        what,
        seconds,
        told.messages if filters == (ALL_DEVICES,) else 2 * told.events,  # an event, and the retained alert
        heard.messages - heard.retained,
        heard.received_bytes / 2**20,
        max(0.0, heard.last_at - heard.subscribed),
        told.events - heard.events,
        usage.rss_mib,
        _milliseconds(meanwhile.latency_s, 99)[0],
    )


def far_room(fleet: Fleet, round_trip_s: float, seconds: float, queue: int) -> Far:
    """A control room whose acknowledgements take a while; `queue` is the broker's limit for it."""
    room = fleet.room(f"far-room-{round_trip_s * 1e3:.0f}", delay_s=round_trip_s)
    until_quiet(room, lambda heard: heard.retained)
    fleet.reports(), room.ask()
    begin = time.monotonic()
    time.sleep(seconds)
    heard, report = room.ask(), fleet.reports()
    took = time.monotonic() - begin
    fleet.dismiss(room)
    sent, got = report.tally.messages / took, heard.messages / took
    behind = sent - got
    return Far(round_trip_s * 1e3, sent, got, queue / behind if behind > 0.05 * sent else None)


def few_files(fleet: Fleet, most: int, seconds: float) -> Files:
    """The broker comes back, and may have only so many files open; after a while it may have more."""
    fleet.broker.stop()
    fleet.broker.start()
    fleet.limit_files(most)
    time.sleep(seconds)
    online = fleet.reports().online
    said = [line for line in fleet.broker.log().splitlines() if "ulimit" in line or "many open" in line]
    fleet.limit_files(fleet.options.devices + 100)
    begin = time.monotonic()
    back = wait_for(lambda: fleet.reports().online == fleet.options.devices)
    recovered = time.monotonic() - begin if back else None
    return Files(most, fleet.options.devices, online, recovered, said[-1].split(": ", 1)[-1] if said else "")


def calm(fleet: Fleet) -> Tally:
    """Nothing is said any more, and everything that was is with the broker; what was told until then."""
    fleet.load(telemetry=False)
    tally = Tally()

    def quiet() -> bool:
        nonlocal tally
        report = fleet.reports()
        tally = tally.plus(report.tally)
        return report.queued == 0

    wait_for(quiet)
    return tally


def until_quiet(room: Worker, number: Callable[[Heard], int]) -> Heard:
    """All that the room heard until, once it had subscribed, nothing more came for a second."""
    total: Heard = room.ask()
    while True:
        time.sleep(1.0)
        heard: Heard = room.ask()
        came = number(heard)
        total = total.plus(heard)
        if heard.subscribed and not came:
            return total


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether the condition came to hold in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _reached(seconds: Sequence[float], number: float) -> float | None:
    """When so many were online, from the sorted moments at which they came."""
    place = math.ceil(number) - 1
    return seconds[place] if 0 <= place < len(seconds) else None


def _milliseconds(seconds: Sequence[float], *percentiles: float) -> list[float]:
    """Percentiles of durations; zeros where there are none."""
    if not len(seconds):
        return [0.0] * len(percentiles)
    return [round(float(each) * 1e3, 3) for each in np.percentile(seconds, percentiles)]
