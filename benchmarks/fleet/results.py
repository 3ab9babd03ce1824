"""What is measured: one class for each table."""

from __future__ import annotations

from dataclasses import dataclass


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
