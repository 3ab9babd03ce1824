"""One soak: its schedule of faults, its samples of the daemon, and what they say."""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.client import Client
from benchmarks.faults.script import Script
from benchmarks.faults.world import DEVICE, Stuck, World
from benchmarks.soak.source import LAND

GROWTH_MIB = 5.0
WINDOW = 10
"""Samples, one a second, whose median is the memory at the start and at the end."""
KINDS = 10
"""Faults in the schedule."""
WARM_FAULTS = 2 * KINDS
"""Each has been twice when the warm-up ends: only then have all caches their size."""
WORD_S = 10.0
END_S = 60.0
ROOT = f"remoteclip/1/{DEVICE}"

PROMPTS = """\
prompts:
  - id: tree
    text: a tree seen from above
    threshold: 0.1
    alerts: [{when: count >= 2, for: 1s}, {when: count >= 6, severity: critical}]
  - {id: car, text: [a car seen from above, a truck seen from above], threshold: 0.2}
  - {id: forest, kind: scene, text: a forest, alerts: [{when: score >= 0.05}]}
background: [bare ground, grass]
"""
OTHER = PROMPTS.replace("background", "  - {id: path, text: a footpath}\nbackground")


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at one moment."""

    rss_mib: float
    threads: int
    files: int


def sample(pid: int) -> Sample:
    """Read from /proc. Raises OSError when the process is gone."""
    status = dict(
        line.partition(":")[::2]
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":" in line
    )
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), files)


@dataclass(slots=True)
class Soak:
    """What a soak found. Memory in MiB: when the flight began, when it was warm, at the end, and the most.

    `seconds` is wall time after the warm-up, `whole_s` all of it.
    """

    seconds: float = 0.0
    frames: int = 0
    dropped: int = 0
    skipped: int = 0
    events: int = 0
    faults: int = 0
    whole_s: float = 0.0
    rss_begin: float = 0.0
    rss_start: float = 0.0
    rss_end: float = 0.0
    rss_most: float = 0.0
    threads_start: int = 0
    threads_end: int = 0
    files_start: int = 0
    files_end: int = 0
    problem: str = ""

    @property
    def grown(self) -> float:
        """MiB, from the end of the warm-up on."""
        return self.rss_end - self.rss_start

    @property
    def passed(self) -> bool:
        """Whether everything is as flat as it has to be."""
        flat = self.threads_end <= self.threads_start and self.files_end <= self.files_start
        return flat and self.grown < GROWTH_MIB and not self.dropped and not self.problem


def faults_of(world: World, room: Client) -> Iterator[Callable[[], None]]:
    """The schedule: for ever the same faults in turn, each over when its call returns."""
    assert world.proxy is not None
    proxy, broker = world.proxy, world.broker

    def restart(end: Callable[[], None]) -> None:
        end()
        time.sleep(1)
        broker.start()

    def away() -> None:
        with proxy.away():
            time.sleep(3)

    def ask() -> None:
        told = [each.body() for each in room.snapshot() if each.topic == f"{ROOT}/events"]
        for event in told[-1:]:
            first = max(1, event["seq"] - 200)
            wanted = {"schema": 1, "boot_id": event["boot_id"], "ranges": [[first, event["seq"]]]}
            room.publish(f"{ROOT}/events/replay", json.dumps(wanted).encode())
        for event in [event for event in told if event["evidence_sha256"]][-3:]:
            wanted = {"schema": 1, "sha256": event["evidence_sha256"]}
            room.publish(f"{ROOT}/evidence/get", json.dumps(wanted).encode())

    def reload() -> None:
        world.daemon.kill(signal.SIGHUP)

    return itertools.cycle(
        (
            lambda: proxy.cut() and None,
            lambda: world.prompts.write_text(OTHER) and None,
            lambda: restart(broker.stop),
            lambda: room.publish(f"{ROOT}/prompts/set", b"prompts: [" * 1000),
            lambda: world.prompts.write_text("prompts: [") and None,
            away,
            lambda: world.prompts.write_text(PROMPTS) and None,
            ask,
            lambda: restart(broker.kill),
            reload,
        )
    )


def fly(seconds: float, every: float, source: Path, tell: Callable[[str], None]) -> Soak:
    """Fly for `seconds`, of which a fifth, and twice the schedule, is warm-up. Raises Stuck."""
    soak = Soak()
    with World(Script(), proxied=True, realtime=False) as world:
        world.prompts.write_text(PROMPTS)
        world.source = f"loop://{source.resolve()}"
        world.engine = "{}"
        world.configure()
        land = world.folder / "land"
        world.daemon.environment[LAND] = str(land)
        world.daemon.command = ("-m", "benchmarks.soak.child")
        room = Client(world.broker.port, "control-room", most=2000)
        world.broker.start()
        room.start("remoteclip/1/#")
        world.daemon.start()
        world.until(lambda: world.daemon.watched, "READY=1 of the daemon")
        try:
            _watch(soak, world, room, seconds, every, tell)
        finally:
            land.touch()
            if world.daemon.join(END_S) != 0 or world.daemon.restarts:
                codes = world.daemon.exit_codes
                soak.problem = f"the daemon ended badly: exit codes {codes}; log at {world.keep_log('soak')}"
            room.stop()
    return soak


def _watch(
    soak: Soak, world: World, room: Client, seconds: float, every: float, tell: Callable[[str], None]
) -> None:
    warm_up = min(120.0, seconds / 5)
    schedule = faults_of(world, room)
    began = time.monotonic()
    next_fault, next_word = began + every, began + WORD_S
    samples: list[Sample] = []
    warm: list[Sample] = []
    while (now := time.monotonic()) - began < seconds:
        if now >= next_fault:
            next(schedule)()
            soak.faults += 1
            next_fault = time.monotonic() + every
        try:
            samples.append(sample(world.daemon.pid))
        except OSError as error:
            raise _ended(world) from error
        if now - began >= warm_up and soak.faults >= WARM_FAULTS and not warm:
            soak.rss_begin = samples[0].rss_mib
            warm = samples[-WINDOW:]
            samples = list(warm)
            warm_up = now - began
        _take_health(soak, room)
        if now >= next_word:
            next_word = now + WORD_S
            one = samples[-1]
            memory = f"{one.rss_mib:.1f} MiB, {one.threads} threads, {one.files} files"
            tell(f"{now - began:6.0f} s  {soak.frames} frames, {soak.faults} faults, {memory}")
        time.sleep(1)
    if not warm:
        raise Stuck(f"too short: {WARM_FAULTS} faults are the warm-up; give it more --seconds")
    soak.whole_s = time.monotonic() - began
    soak.seconds = soak.whole_s - warm_up
    soak.rss_most = max(s.rss_mib for s in samples)
    last = samples[-WINDOW:]
    soak.rss_start, soak.rss_end = (statistics.median(s.rss_mib for s in part) for part in (warm, last))
    # The median of a whole quarter: while a connection is made or away, there are some more or fewer of both.
    quarter = max(WINDOW, len(samples) // 4)
    first, last = samples[:quarter], samples[-quarter:]
    soak.threads_start, soak.threads_end = (
        round(statistics.median(s.threads for s in part)) for part in (first, last)
    )
    soak.files_start, soak.files_end = (
        round(statistics.median(s.files for s in part)) for part in (first, last)
    )


def _ended(world: World) -> Stuck:
    """The daemon is gone in the midst of its flight."""
    time.sleep(1)  # the supervisor takes note of it
    watchdog = ", ended by its watchdog" if world.daemon.watchdog_kills else ""
    codes = world.daemon.exit_codes
    return Stuck(f"the daemon ended{watchdog}: exit codes {codes}; log kept at {world.keep_log('soak')}")


def _take_health(soak: Soak, room: Client) -> None:
    heard = [each for each in room.snapshot() if each.topic.startswith(ROOT) and each.payload]
    for each in heard:
        if each.topic == f"{ROOT}/health":
            health = each.body()
            soak.frames, soak.dropped = health["frames"], health["dropped"]
            soak.skipped = sum(health["skipped"].values())
        elif each.topic == f"{ROOT}/events":
            soak.events = max(soak.events, each.body()["seq"])
