"""A process with its share of the drones; its parent commands and asks through a pipe."""

from __future__ import annotations

import math
import random
import ssl
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.fleet.drone import Drone, Login
from benchmarks.fleet.loop import Loop
from benchmarks.fleet.payloads import Script, load_fleet_list
from benchmarks.fleet.tally import Tally
from benchmarks.fleet.wire import Version
from edge.reporter import HEALTH_INTERVAL_S

_BURST = 64  # events that are made before the sockets are looked at again
_LONGEST_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Share:
    """What one generator flies.

    Args:
        certificates: folder with ca.crt, and NAME.crt and NAME.key of each drone; None: no TLS.
    """

    names: Sequence[str]
    port: int
    prompts: Path
    version: Version = "5"
    passwords: dict[str, bytes] = field(default_factory=dict)
    certificates: Path | None = None
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Connect:
    """Every drone that was never told to connects, all within `within_s` seconds."""

    within_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """What the share says from now on: counts at an interval (infinity: none), and events a second in all."""

    counts_interval: float = math.inf
    events_per_s: float = 0.0
    health: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """Asks for a Report."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened since the last report.

    online, queued  drones, and messages that are not acknowledged, at this moment
    late_s          for each event, how long after it was due it was made: the generator's own lateness
    cpu_s           of this process since its start
    """

    tally: Tally
    online: int
    queued: int
    late_s: array[float]
    cpu_s: float


def generate(share: Share, pipe: Connection) -> None:
    """The main function of the process. None through the pipe ends it."""
    generator = _Generator(share)
    generator.loop.watch(pipe.fileno(), lambda: generator.obey(pipe))
    try:
        while not generator.over:
            generator.loop.turn(_LONGEST_WAIT)
    except KeyboardInterrupt:  # the parent gets it, too, and ends the run
        pass
    generator.stop()


class _Generator:
    def __init__(self, share: Share) -> None:
        loaded = load_fleet_list(share.prompts)
        self.loop = Loop()
        self.over = False
        self._random = random.Random(share.seed)
        self._tally = Tally()
        self._late: array[float] = array("d")
        login = Login(share.port, share.version, share.passwords, contexts(share.certificates))
        self._drones = [Drone(Script(name, loaded), login, self.loop, self._tally) for name in share.names]
        self._load = Load()
        self._next_event = math.inf

    def obey(self, pipe: Connection) -> None:
        """One command of the parent."""
        try:
            command = pipe.recv()
        except EOFError:  # the parent is gone
            command = None
        if isinstance(command, Connect):
            self._connect(command.within_s)
        elif isinstance(command, Load):
            self._take_load(command)
        elif isinstance(command, Tell):
            pipe.send(self._report())
        else:
            self.over = True

    def stop(self) -> None:
        """Every drone says goodbye."""
        for drone in self._drones:
            drone.stop()

    def _connect(self, within_s: float) -> None:
        now = time.monotonic()
        for drone in self._drones:
            self.loop.at(now + self._random.uniform(0, within_s), drone.connect)

    def _take_load(self, load: Load) -> None:
        now = time.monotonic()
        self._load = load
        health_interval = HEALTH_INTERVAL_S if load.health else math.inf
        for drone in self._drones:
            for interval, call in (
                (load.counts_interval, drone.tell_counts),
                (health_interval, drone.tell_health),
            ):
                if interval < math.inf:
                    self._repeat(now + self._random.uniform(0, interval), interval, call, load)
        self._next_event = now
        self._events(load, now)

    def _events(self, load: Load, now: float) -> None:
        """Events come at any time, at any drone, where they are the steps of one alert after another."""
        if self._load is not load or load.events_per_s <= 0:
            return
        for _ in range(_BURST):
            if self._next_event > now:
                break
            made = time.monotonic()
            self._random.choice(self._drones).tell_event(self._next_event, made)
            self._late.append(made - self._next_event)
            self._next_event += self._random.expovariate(load.events_per_s)
        self.loop.at(self._next_event, partial(self._events, load))

    def _repeat(self, first: float, interval: float, call: Callable[[float], None], load: Load) -> None:
        """Calls at an interval until another load is taken."""

        def due(now: float) -> None:
            if self._load is load:
                self._repeat(first + interval, interval, call, load)
                call(now)

        self.loop.at(first, due)

    def _report(self) -> Report:
        online = sum(drone.greeted for drone in self._drones)
        queued = sum(drone.queued for drone in self._drones)
        tally, late = self._tally.taken(), self._late
        self._late = array("d")
        return Report(tally, online, queued, late, time.process_time())


def contexts(folder: Path | None) -> Callable[[str], ssl.SSLContext] | None:
    """TLS with the certificate of a name, as a daemon of that name uses it; the contexts are kept."""
    if folder is None:
        return None
    made: dict[str, ssl.SSLContext] = {}

    def context(name: str) -> ssl.SSLContext:
        if name not in made:
            made[name] = ssl.create_default_context(cafile=str(folder / "ca.crt"))
            made[name].load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
        return made[name]

    return context
