"""The processes of one run: the shipped mosquitto, the generators, the control rooms, and what they use."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import resource
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.authority import Authority
from benchmarks.faults.broker import Broker
from benchmarks.fleet.generator import Connect, Load, Report, Share, Tell, generate
from benchmarks.fleet.room import Come, Desk, Go, listen
from benchmarks.fleet.wire import Version
from firmware_cfg.broker import Login
from firmware_cfg.errors import BrokerError

RATES = tuple(50.0 * 2**number for number in range(10))  # alerts a second
_ROOM = "control-room"
_PATIENCE = 60.0
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Options:
    """Of one run.

    Args:
        generators: processes that share the drones.
        counts_interval: seconds between counts of one drone; infinity: none.
        rates: alerts a second of the whole fleet, one after the other.
        settings: lines of mosquitto.conf in place of the shipped ones.
    """

    devices: int
    prompts: Path
    version: Version = "5"
    tls: bool = False
    generators: int = 1
    counts_interval: float = 1.0
    rates: tuple[float, ...] = RATES
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process at one moment: seconds of processor since its start, resident MiB now and at most."""

    at: float
    cpu_s: float
    rss_mib: float
    peak_mib: float

    def cpu_since(self, before: Usage) -> float:
        """Cores in use on average between two moments."""
        return (self.cpu_s - before.cpu_s) / max(1e-9, self.at - before.at)


class Worker:
    """A process that takes commands, and answers `Tell`."""

    def __init__(self, main: Callable[..., None], plan: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=main, args=(plan, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, command: object) -> None:
        """Hands over a command."""
        self._pipe.send(command)

    def ask(self) -> Any:
        """What it has to report since the last time. Raises RuntimeError when it is gone, or hangs."""
        self._pipe.send(Tell())
        if not self._pipe.poll(_PATIENCE):
            raise RuntimeError(f"{self.process.name} does not answer")
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self.process.name} has ended") from None

    def stop(self) -> None:
        """Ends it, in order if it can. May be called twice."""
        if self.process.is_alive():
            with contextlib.suppress(OSError):
                self._pipe.send(None)
            self.process.join(10.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Fleet:
    """`with Fleet(options, folder) as fleet`: the broker runs, the drones wait for `connect`.

    Without TLS every drone has a password, with it a certificate, so that the shipped acl is in force.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self._folder = options, folder
        self.names = [f"drone-{number:05}" for number in range(options.devices)]
        login: Login = "certificates" if options.tls else "passwords"
        self.broker = Broker(folder / "broker", changes=list(options.settings), login=login, tls=options.tls)
        self._passwords: dict[str, bytes] = {}
        self._rooms: list[Worker] = []
        self.generators: list[Worker] = []

    def __enter__(self) -> Fleet:
        try:
            self._make_logins()
            self.broker.start()
            share = math.ceil(len(self.names) / self.options.generators)
            for number, first in enumerate(range(0, len(self.names), share)):
                self.generators.append(self._generator(self.names[first : first + share], number))
            self.reports()  # they have made their payloads
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends everything."""
        for worker in [*self.generators, *self._rooms]:
            worker.stop()
        self.broker.stop()

    def room(self, ident: str = _ROOM, **options: Any) -> Worker:
        """A control room that has subscribed. `options` are those of Desk."""
        desk = Desk(
            ident=ident,
            port=self.broker.port,
            version=self.options.version,
            name=_ROOM,
            password=self._passwords.get(_ROOM),
            certificates=self._folder / "certs" if self.options.tls else None,
            **options,
        )
        worker = Worker(listen, desk)
        self._rooms.append(worker)
        worker.tell(Come())
        return worker

    @property
    def room_login(self) -> tuple[str, str]:
        """User name and password of the control room; without TLS."""
        return _ROOM, self._passwords[_ROOM].decode()

    def dismiss(self, room: Worker) -> None:
        """Ends a control room; a kept session stays with the broker."""
        room.tell(Go())
        room.stop()
        self._rooms.remove(room)

    def connect(self, within_s: float = 0.0) -> None:
        """All drones connect for the first time."""
        for worker in self.generators:
            worker.tell(Connect(within_s))

    def load(self, events_per_s: float = 0.0, *, telemetry: bool = True) -> None:
        """What all drones together say from now on; without `telemetry`, no counts and no health."""
        interval = self.options.counts_interval if telemetry else math.inf
        for worker in self.generators:
            worker.tell(Load(interval, events_per_s / len(self.generators), health=telemetry))

    def reports(self) -> Report:
        """Of all generators, as if they were one; `cpu_s` is that of the busiest."""
        found: list[Report] = [worker.ask() for worker in self.generators]
        first, *others = found
        tally, late = first.tally, first.late_s
        for each in others:
            late.extend(each.late_s)
            tally = tally.plus(each.tally)
        tally.tries.sort()
        tally.online.sort()
        return Report(
            tally,
            sum(each.online for each in found),
            sum(each.queued for each in found),
            late,
            max(each.cpu_s for each in found),
        )

    def usage(self) -> Usage:
        """Of the broker."""
        stat = Path(f"/proc/{self.broker.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        status = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{self.broker.pid}/status").read_text(encoding="utf-8").splitlines()
            if ":" in line
        )
        kib = [int(status[name].split()[0]) for name in ("VmRSS", "VmHWM")]
        return Usage(time.monotonic(), (int(stat[11]) + int(stat[12])) / _TICK, kib[0] / 1024, kib[1] / 1024)

    @staticmethod
    def busy_s() -> float:
        """Seconds of processor that this whole machine has spent on something."""
        user, nice, system, _idle, _wait, irq, soft = map(
            int, Path("/proc/stat").read_text(encoding="ascii").split()[1:8]
        )
        return (user + nice + system + irq + soft) / _TICK

    def limit_files(self, most: int) -> None:
        """The broker may have so many files and connections open from now on."""
        _, hard = resource.prlimit(self.broker.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.broker.pid, resource.RLIMIT_NOFILE, (most, hard))

    def _generator(self, names: list[str], seed: int) -> Worker:
        share = Share(
            names=names,
            port=self.broker.port,
            prompts=self.options.prompts,
            version=self.options.version,
            passwords={name: self._passwords[name] for name in names if name in self._passwords},
            certificates=self._folder / "certs" if self.options.tls else None,
            seed=seed,
        )
        return Worker(generate, share)

    def _make_logins(self) -> None:
        users = [*self.names, _ROOM]
        if self.options.tls:
            authority, folder = Authority(), self._folder / "certs"
            folder.mkdir(parents=True, exist_ok=True)
            authority.write(folder / "ca.crt")
            for user in users:
                authority.for_client(user, folder / f"{user}.crt")
            authority.for_broker(self.broker.certificates)
            return
        tool = shutil.which("mosquitto_passwd")
        if tool is None:
            raise BrokerError("mosquitto_passwd is not installed (apt install mosquitto)")
        self._passwords = {user: secrets.token_hex(8).encode() for user in users}
        self.broker.folder.mkdir(parents=True, exist_ok=True)
        file = self.broker.folder / "passwords"
        file.write_bytes(
            b"".join(b"%s:%s\n" % (user.encode(), word) for user, word in self._passwords.items())
        )
        subprocess.run([tool, "-U", str(file)], check=True, capture_output=True)
        file.chmod(0o600)
