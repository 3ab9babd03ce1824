"""One flight under a fault: broker, proxy, daemon under a supervisor, control room, and the files of all."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import paho.mqtt.client as paho

from benchmarks.faults.authority import Authority
from benchmarks.faults.broker import Broker
from benchmarks.faults.client import Client
from benchmarks.faults.disk_events import events_on_disk
from benchmarks.faults.judge import Step, steps_of
from benchmarks.faults.proxy import Proxy
from benchmarks.faults.room import ControlRoom
from benchmarks.faults.script import LAND, PROMPTS, Script
from benchmarks.faults.supervisor import Supervisor
from firmware_cfg.broker import Login

DEVICE = "bird"
SECRET = "a long secret of this flight"
PATIENCE_S = 90.0
"""The longest wait for anything: patience with a busy machine, no expectation."""
QUIET_S = 45.0
"""A flight that is over and hears nothing new for this long will hear nothing more:
longer than the longest pause between two tries to connect."""
TICK_S = 0.02


class Stuck(Exception):
    """Something that had to happen did not."""


class World:
    """A flight whose parts a fault may break. A context manager: everything is ended and removed after it.

    Args:
        script: the flight.
        proxied: put a `Proxy` between daemon and broker.
        login: of the shipped broker; with other than "anonymous" its acl holds.
        changes: lines in place of those of the shipped mosquitto.conf.
        realtime: fly at the script's own speed, else as fast as it goes.
    """

    def __init__(
        self,
        script: Script,
        *,
        proxied: bool = False,
        realtime: bool = True,
        login: Login = "anonymous",
        changes: Sequence[str] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="remoteclip-faults-"))
        self.script = script
        self.mended_at = 0.0
        self.recoveries: list[float] = []
        self.notes: list[str] = []
        self.safe_frame = 0  # the least that `last_safe_frame` says
        self.leave_out: set[str] = set()  # boot ids of another daemon that a fault lets in
        self.state = self.folder / "state"
        self.prompts = self.folder / "prompts.yaml"
        self.prompts.write_text(PROMPTS)
        self.source = script.save(self.folder / "script.json")
        tls = login == "certificates"
        self.broker = Broker(self.folder / "broker", changes=list(changes), login=login, tls=tls)
        self.proxy = Proxy(self.broker.port) if proxied else None
        self.authority = Authority()
        self.authority.for_broker(self.broker.certificates)
        self._viewer = self.let_in("viewer")
        self.room = ControlRoom(self.broker.port, DEVICE, prepare=self.let_in("control-room"))
        self.device_file = self.folder / "device.yaml"
        self.engine = "{image_size: [256, 256], threads: 1}"
        self._realtime = realtime
        self._undo = ExitStack()
        self.configure()
        self.log_path = self.folder / "daemon.log"
        self.daemon = Supervisor(self.device_file, self.log_path, first_frame=self.last_safe_frame)

    def let_in(self, user: str) -> Callable[[paho.Client], None]:
        """Make the broker know `user`, by the login that it asks for; what a client of that name needs."""
        if self.broker.login == "passwords":
            self.broker.set_password(user, SECRET)
            return lambda client: client.username_pw_set(user, SECRET)
        if self.broker.login == "certificates":
            certificate = self.folder / f"{user}.crt"
            self.authority.for_client(user, certificate)
            authority = self.broker.certificates / "ca.crt"
            return lambda client: client.tls_set(
                str(authority), str(certificate), str(certificate.with_suffix(".key"))
            )
        return lambda client: None

    def configure(self, *, bundle: str = "default") -> None:
        """Write the device file."""
        self.let_in(DEVICE)
        port = self.proxy.port if self.proxy is not None else self.broker.port
        scheme, access = "mqtt", ""
        if self.broker.login == "passwords":
            self.password.write_text(SECRET + "\n")
            access = f", username: {DEVICE}, password_file: {self.password}"
        elif self.broker.login == "certificates":
            scheme, own = "mqtts", self.certificate
            tls = f"ca: {self.broker.certificates / 'ca.crt'}, cert: {own}, key: {own.with_suffix('.key')}"
            access = f", tls: {{{tls}}}"
        self.device_file.write_text(
            f"device: {DEVICE}\n"
            f"source: {{uri: '{self.source}', realtime: {str(self._realtime).lower()}, drop: never}}\n"
            f"prompts: {self.prompts}\n"
            f"bundle: {bundle}\n"
            f"engine: {self.engine}\n"
            f"mqtt: {{url: '{scheme}://127.0.0.1:{port}', keepalive: 5s{access}}}\n"
            f"state_dir: {self.state}\n"
            "counts_interval: 200ms\n"
        )

    @property
    def password(self) -> Path:
        """The daemon's password file, where the broker asks for passwords."""
        return self.folder / "password"

    @property
    def certificate(self) -> Path:
        """The daemon's certificate, where the broker asks for certificates."""
        return self.folder / f"{DEVICE}.crt"

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.room.close()
        self.daemon.stop()
        if self.proxy is not None:
            self.proxy.close()
        self.broker.stop()
        self._undo.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self) -> None:
        """Broker, control room, daemon, in this order."""
        self.broker.start()
        self.room.start()
        self.until(self.room.online.is_set, "the control room is online")
        self.daemon.start()

    @property
    def log(self) -> str:
        """What the daemon has said in all its lives."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def until(self, wanted: Callable[[], bool], what: str, timeout: float = PATIENCE_S) -> None:
        """Wait until `wanted()`. Raises Stuck, which names `what` was waited for."""
        deadline = time.monotonic() + timeout
        while not wanted():
            if time.monotonic() > deadline:
                last = self.log.strip().splitlines()[-1:]
                raise Stuck(f"not in {timeout:g} s: {what}; the daemon's last line: {' '.join(last)}")
            time.sleep(TICK_S)

    def until_steps(self, number: int) -> None:
        """Wait until `number` different raises and clears have come."""
        self.until(lambda: self.room.steps() >= number, f"{number} raises and clears at the control room")

    def until_said(self, pattern: str, times: int = 1) -> None:
        """Wait until the daemon's log matches."""
        self.until(lambda: len(re.findall(pattern, self.log)) >= times, f"the log says {pattern!r}")

    def mended(self) -> None:
        """The fault is over: recovery time runs from here to the next event."""
        self.settle_recovery()
        self.mended_at = time.monotonic()

    def settle_recovery(self) -> None:
        """Book the recovery that `mended` began, if an event has come since."""
        if self.mended_at and (first := self.room.first_event_after(self.mended_at)) is not None:
            self.recoveries.append(first - self.mended_at)
            self.mended_at = 0.0

    def land(self, expected: int) -> None:
        """Let the flight end once the control room has heard `expected` steps or hears nothing more.

        Raises Stuck if the daemon does not end well.
        """
        began = time.monotonic()
        flight_s = self.script.frames / self.script.fps

        def heard_out() -> bool:
            quiet_since = max(self.room.last_event_at(), began + flight_s)
            return self.room.steps() >= expected or time.monotonic() - quiet_since > QUIET_S

        self.until(heard_out, "the end of the flight", 2 * PATIENCE_S + flight_s)
        self.settle_recovery()
        (self.folder / LAND).touch()
        code = self.daemon.join(PATIENCE_S)
        if code != 0:
            raise Stuck(f"the daemon did not end well (exit code {code})")

    def small_disk(self, size: str) -> None:
        """Mount a memory disk of `size`, such as "2m", as the state folder. Needs root."""
        self.state.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "remoteclip-faults", str(self.state)]
        subprocess.run(mount, check=True)
        self._undo.callback(subprocess.run, ["umount", "-l", str(self.state)], check=True)

    def keep_log(self, name: str) -> Path:
        """Copy the daemon's log out of the world, to be read after it; returns where it is."""
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower())
        kept = Path(tempfile.gettempdir()) / f"remoteclip-faults-{plain}.log"
        kept.write_text(self.log)
        return kept

    def last_safe_frame(self) -> int:
        """Frame of the last event that is on the disk or at the control room: the source goes on with it.

        That frame itself is shown again, as it may have had more events than were written.
        """
        frames = [event["frame"] for event in self.room.events()]
        frames += [event["frame"] for event in events_on_disk(self.state / "outbox.db")]
        return max([self.safe_frame, *frames])

    def retained(self) -> dict[str, bytes]:
        """What the broker retains of the device."""
        visitor = Client(self.broker.port, "visitor", prepare=self._viewer)
        visitor.start(f"remoteclip/1/{DEVICE}/#")
        visitor.wait(lambda heard: any(each.topic.endswith("/status") for each in heard), PATIENCE_S)
        time.sleep(0.3)  # the rest of what is retained follows the same subscription at once
        visitor.stop()
        return {each.topic: each.payload for each in visitor.snapshot() if each.retained}


def true_steps(script: Script) -> list[Step]:
    """The steps of an uninterrupted run of the daemon over `script`, as fast as it goes. Raises Stuck."""
    with World(script, realtime=False) as world:
        (world.folder / LAND).touch()
        world.begin()
        if world.daemon.join(PATIENCE_S + script.frames / script.fps) != 0:
            raise Stuck(f"the uninterrupted run did not end well: {world.log}")
        world.until(lambda: world.room.heard_state("stopped"), "the status stopped")
        return steps_of(world.room.events())
