"""What is done to the fleet and its broker, one after the other, and what is measured meanwhile."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.fleet.drone import Tally
from benchmarks.fleet.fleet import Fleet, Worker
from benchmarks.fleet.room import Come, Go, Heard

PATIENCE_S = 120.0
LATE_S = 1.0  # an event that comes later than this, at the 99th percentile, is no alert any more
_BEHIND = 0.95  # share of what was offered that must have arrived
_FULL = 0.9  # share of a core that counts as all of it
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Storm:
    """All drones connect.

    half_s, most_s, all_s  until 50%, 95% and 100% of them were online, from the first moment they could be;
                           None where they never were
    tries                  of all drones; `peak` of them within the worst second
    cpu_s                  of the broker
    """

    what: str
    devices: int
    online: int
    half_s: float | None
    most_s: float | None
    all_s: float | None
    tries: int
    peak: int
    cpu_s: float
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Step:
    """One rate of alerts. Latencies in ms from the moment an event was due to the control room's having it.

    messages          a second to the control room, counts and retained copies among them
    generator_ms      p99 of how late the generator itself was: part of the latencies
    ..._cores         in use on average; of the machine: by other programs, too
    queued            messages that no drone has an acknowledgement for, at the end
    missing           events that never came
    broke             what was too much, empty where nothing was
    """

    offered: float
    received: float
    messages: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    most_ms: float
    generator_ms: float
    broker_cores: float
    generator_cores: float
    room_cores: float
    machine_cores: float
    rss_mib: float
    queued: int
    missing: int
    broke: str


@dataclass(frozen=True, slots=True)
class Flood:
    """What a control room gets at once, and how long that takes it.

    away_s     how long it was not there
    sent       messages that the drones had put meanwhile (0 where only retained ones are meant)
    got        messages that came
    missing    events among those that did not come
    broker_mib resident memory of the broker before it came
    live_ms    p99 of the events' latency to another control room meanwhile
    """

    what: str
    away_s: float
    sent: int
    got: int
    mib: float
    seconds: float
    missing: int
    broker_mib: float
    live_ms: float


@dataclass(frozen=True, slots=True)
class Far:
    """A control room behind a round trip: messages a second that it gets, beside those that are sent.

    full_s  after so long its queue at the broker would be full; None where it keeps up
    """

    round_trip_ms: float
    sent: float
    got: float
    full_s: float | None


@dataclass(frozen=True, slots=True)
class Files:
    """A broker that may have only so many files open: how many of the drones it lets in, and what it says."""

    limit: int
    devices: int
    online: int
    recovered_s: float | None
    said: str


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
        *(_reached(seconds, share * devices) for share in (0.5, 0.95, 1.0)),
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
    latency = np.percentile(now.latency_s, (50, 95, 99, 100)) * 1e3 if now.latency_s else np.zeros(4)
    late_ms = float(np.percentile(report.late_s, 99)) * 1e3 if report.late_s else 0.0
    step = Step(
        rate,
        now.events / took,
        now.messages / took,
        *(round(float(each), 3) for each in latency),
        round(late_ms, 3),
        after.cpu_since(broker),
        (report.cpu_s - generators.cpu_s) / took,
        (now.cpu_s - heard.cpu_s) / took,
        busy / took,
        after.rss_mib,
        report.queued,
        now.missing - heard.missing,
        "",
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
    fleet: Fleet, live: Worker, what: str, filters: Sequence[str], rate: float, seconds: float
) -> Flood:
    """A control room with a kept session is away while the fleet tells `rate` events a second; it returns.

    `live` is one that stays, and whose latency meanwhile is measured.
    """
    calm(fleet)
    room = fleet.room(f"away-room-{what}", filters=tuple(filters), kept=True)
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
        told.messages,
        heard.messages - heard.retained,
        heard.received_bytes / 2**20,
        max(0.0, heard.last_at - heard.subscribed),
        told.events - heard.events,
        usage.rss_mib,
        float(np.percentile(meanwhile.latency_s, 99)) * 1e3 if meanwhile.latency_s else 0.0,
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
    total = room.ask()
    while True:
        time.sleep(1.0)
        heard = room.ask()
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
