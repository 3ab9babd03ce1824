"""One run: which parts are flown, in which order, and what they add up to."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.fleet.fleet import Fleet, Options, Worker
from benchmarks.fleet.payloads import Script, load_fleet_list
from benchmarks.fleet.phases import (
    away_room,
    calm,
    far_room,
    few_files,
    late_room,
    ramp,
    storm,
    wait_for,
)
from benchmarks.fleet.results import Far, Files, Flood, Step, Storm
from edge.broker import find_mosquitto
from edge.fleet import FleetState
from firmware_cfg.broker import FOLDER
from firmware_cfg.topics import ALL_DEVICES, ROOT

PARTS = ("ramp", "late", "away", "far", "restart", "files")
STEPS = 10
EVENTS_ONLY = (f"{ROOT}/+/events", f"{ROOT}/+/alerts/+")
_WATCHED = 5000


@dataclass(slots=True)
class Result:
    """What was measured; `watch_per_s`: messages a second that the state of `remoteclip watch` takes in."""

    title: str
    storms: list[Storm] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    floods: list[Flood] = field(default_factory=list)
    far: list[Far] = field(default_factory=list)
    files: list[Files] = field(default_factory=list)
    watch_per_s: float = 0.0

    @property
    def conclusions(self) -> list[str]:
        """One line for each thing that was too much, and for what was not."""
        lines = []
        broke = [step for step in self.steps if step.broke]
        borne = [step for step in self.steps if not step.broke]
        if borne:
            best = borne[-1]
            what = f"{best.received:,.0f} alerts/s among {best.messages:,.0f} messages/s"
            lines.append(f"borne: {what}, p99 {best.p99_ms:.1f} ms")
        lines += [f"broke first, at {step.offered:,.0f} alerts/s: {step.broke}" for step in broke]
        lines += [
            f"{flood.what}: {flood.missing:,} events missing after {flood.away_s:.0f} s away"
            for flood in self.floods
            if flood.missing
        ]
        if self.watch_per_s:
            lines.append(f"`remoteclip watch` folds in {self.watch_per_s:,.0f} messages/s (one core)")
        return lines


def fly(options: Options, parts: Sequence[str], seconds: float, tell: Callable[[str], None]) -> Result:
    """Flies the parts. `seconds` is what the ramp may take; the others follow from it. Raises BrokerError."""
    result = Result(_title(options))
    with (
        tempfile.TemporaryDirectory(prefix="remoteclip-fleet-") as folder,
        Fleet(options, Path(folder)) as fleet,
    ):
        tell(f"{options.devices} drones connect")

        def begin() -> float:
            fleet.connect()
            return time.monotonic()

        result.storms.append(storm(fleet, "all at once, for the first time", begin))
        room = fleet.room()
        wait_for(lambda: bool(room.ask().subscribed))
        fleet.load()
        time.sleep(min(5.0, seconds / STEPS))  # the sweeps end, and everything is retained once
        for part in PARTS:
            if part in parts:
                _PARTS[part](fleet, room, result, seconds, tell)
    result.watch_per_s = watched(options.prompts)
    return result


def watched(prompts: Path) -> float:
    """Messages a second that FleetState takes in: counts of a thousand drones, and one event in five."""
    loaded = load_fleet_list(prompts)
    scripts = [Script(f"drone-{number}", loaded) for number in range(100)]
    messages = []
    for number in range(_WATCHED):
        script = scripts[number % len(scripts)]
        values = {"event_id": b"e%d" % number, "alert_id": b"a"}
        if number % 5:
            counts, template = next(iter(script.counts.items()))
            messages.append((counts.decode(), template.fill(values)))
        else:
            messages.append((script.topics.events, script.event["raise"].fill(values)))
    state, now = FleetState(), datetime.now(timezone.utc)
    begin = time.perf_counter()
    for topic, payload in messages:
        state.apply(topic, payload, False, at=now)
    took = time.perf_counter() - begin
    if state.rejected:
        raise AssertionError(f"the generator's own message was rejected: {state.problem}")
    return _WATCHED / took


def _ramp(fleet: Fleet, room: Worker, result: Result, seconds: float, tell: Callable[[str], None]) -> None:
    rates = fleet.options.rates
    for step in ramp(fleet, room, rates, seconds / len(rates)):
        tell(f"{step.offered:,.0f} alerts/s: p99 {step.p99_ms:.1f} ms {step.broke}")
        result.steps.append(step)
    calm(fleet)
    fleet.load()


def _late(fleet: Fleet, room: Worker, result: Result, seconds: float, tell: Callable[[str], None]) -> None:
    tell("a new control room")
    calm(fleet)
    result.floods.append(late_room(fleet))


def _away(fleet: Fleet, room: Worker, result: Result, seconds: float, tell: Callable[[str], None]) -> None:
    for what, filters in (("events and alerts", EVENTS_ONLY), ("everything", (ALL_DEVICES,))):
        tell(f"a control room that hears {what} is away")
        result.floods.append(
            away_room(fleet, room, f"kept session, {what}", filters, fleet.options.devices / 10, seconds / 2)
        )


def _far(fleet: Fleet, room: Worker, result: Result, seconds: float, tell: Callable[[str], None]) -> None:
    queue = max_queued(fleet.options)
    fleet.load(fleet.options.devices / 10)
    for round_trip_s in (0.01, 0.05, 0.2):
        tell(f"a control room {round_trip_s * 1e3:.0f} ms away")
        result.far.append(far_room(fleet, round_trip_s, seconds / STEPS, queue))
    calm(fleet)


def _restart(fleet: Fleet, room: Worker, result: Result, seconds: float, tell: Callable[[str], None]) -> None:
    for down_s in (1.0, seconds / 2):
        tell(f"the broker is down for {down_s:.0f} s")

        def begin(down_s: float = down_s) -> float:
            fleet.broker.stop()
            time.sleep(down_s)
            fleet.broker.start()
            return time.monotonic()

        fleet.load(fleet.options.devices / 100)
        time.sleep(min(11.0, seconds / 5))  # connections that lasted make short pauses again
        result.storms.append(storm(fleet, f"broker restarted, {down_s:.0f} s down", begin))


def _files(fleet: Fleet, room: Worker, result: Result, seconds: float, tell: Callable[[str], None]) -> None:
    tell("the broker may have few files open")
    fleet.load()
    result.files.append(few_files(fleet, max(20, fleet.options.devices * 4 // 5), seconds / STEPS))


_PARTS = {"ramp": _ramp, "late": _late, "away": _away, "far": _far, "restart": _restart, "files": _files}


def max_queued(options: Options) -> int:
    """`max_queued_messages` of the broker's configuration."""
    lines = [*(FOLDER / "mosquitto.conf").read_text(encoding="utf-8").splitlines(), *options.settings]
    return [int(line.split()[1]) for line in lines if line.startswith("max_queued_messages ")][-1]


def _title(options: Options) -> str:
    program = find_mosquitto()
    words = "" if program is None else subprocess.run([program, "-h"], capture_output=True, text=True).stdout
    broker = words.splitlines()[0].replace("mosquitto version", "mosquitto") if words else "no mosquitto"
    login = "TLS with certificates" if options.tls else "passwords, no TLS"
    more = f", {'; '.join(options.settings)}" if options.settings else ""
    cores = len(os.sched_getaffinity(0))
    what = f"{options.devices} drones, MQTT {options.version}, {login}"
    return (
        f"{what}, counts every {options.counts_interval:g} s of {options.prompts.stem}; one {broker} as"
        f" shipped{more}\n{cpu_name()}, {cores} cores, Linux {platform.release()}, Python"
        f" {platform.python_version()}"
    )


def cpu_name() -> str:
    """The processor, as Linux names it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
