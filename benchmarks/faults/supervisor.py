"""What systemd does for the unit, as far as faults need it: restart, notify socket, watchdog."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WATCHDOG_S = 3.0
ABORT_S = 2.0
"""Between SIGABRT and SIGKILL of a process that its watchdog gave up."""
RESTART_S = 0.1
STOP_S = 30.0
TICK_S = 0.02


@dataclass(slots=True)
class Life:
    """One process from its start to its end. Times are of the monotonic clock, in seconds."""

    process: subprocess.Popen[bytes]
    began: float
    last_sign: float = 0.0
    watched: bool = False
    aborted: float | None = None
    ended: bool = False


class Supervisor:
    """Keeps one `remoteclip run` alive until it exits with 0, or `stop` is called.

    `first_frame` is asked before each start: the frame with which the source goes on.
    """

    def __init__(
        self,
        device_file: Path,
        log_path: Path,
        *,
        first_frame: Callable[[], int],
        settings: dict[str, str] | None = None,
        command: tuple[str, ...] = ("-m", "benchmarks.faults.child"),
    ) -> None:
        self.environment = dict(settings or {})
        self.watchdog_kills = 0
        self.restarts = 0
        self.left_behind = 0  # lives that ended and left processes of their own
        self.start_s = 0.0  # what the latest start took, until READY=1
        self.exit_codes: list[int] = []
        self._held = False  # an end, however it was, is followed by a start as soon as `up` is called
        self._revive = False
        self.command = command
        self._device_file = device_file
        self._log_path = log_path
        self._first_frame = first_frame
        self._life: Life | None = None
        self._stopping = False
        self._lock = threading.RLock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(b"\0" + os.urandom(8).hex().encode())  # abstract: no file to leave behind
        self._socket.settimeout(TICK_S)
        self._thread = self._make_thread()

    def start(self) -> None:
        """Start the first life."""
        self._spawn()
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the present life, or of the last one."""
        assert self._life is not None
        return self._life.process.pid

    @property
    def age_s(self) -> float:
        """Seconds since the present life began."""
        assert self._life is not None
        return time.monotonic() - self._life.began

    @property
    def running(self) -> bool:
        """Whether a process is there now."""
        return self._life is not None and self._life.process.poll() is None

    @property
    def watched(self) -> bool:
        """Whether the present life has said READY=1, so that the watchdog runs."""
        return self._life is not None and self._life.watched

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; after a deadly one the next life begins by itself."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            assert self._life is not None
            self._life.process.send_signal(number)

    def hold(self) -> None:
        """After its next end, however that is, the daemon stays down until `up`."""
        self._held = self._revive = True

    def down(self) -> None:
        """Kill the daemon with SIGKILL and keep it down until `up`."""
        self.hold()
        self.kill()
        assert self._life is not None
        self._life.process.wait(STOP_S)

    def up(self) -> None:
        """Let the next life begin."""
        self._held = False

    def join(self, timeout: float) -> int | None:
        """Wait for an end with exit code 0; its code, or that of another end if it is down, else None."""
        self._thread.join(timeout)
        return None if self._thread.is_alive() else self.exit_codes[-1]

    def stop(self) -> None:
        """End for good: SIGTERM, then SIGKILL. May be called twice."""
        self._stopping = True
        if self._life is not None and self.running:
            self.kill(signal.SIGCONT)
            self.kill(signal.SIGTERM)
            try:
                self._life.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                self._life.process.wait()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def _spawn(self) -> None:
        name = self._socket.getsockname()
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "NOTIFY_SOCKET": "@" + name[1:].decode(),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
            "REMOTECLIP_FAULTS_FROM": str(self._first_frame()),
            **self.environment,
        }
        environment.pop("WATCHDOG_PID", None)
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self.command, "run", str(self._device_file)],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the harness, which then ends the daemon
            )
        self._life = Life(process, time.monotonic())

    def _watch(self) -> None:
        while True:
            self._listen()
            with self._lock:
                life = self._life
                assert life is not None
                code = life.process.poll()
                if code is None:
                    self._guard(life)
                    continue
                if not life.ended:
                    life.ended = True
                    self.exit_codes.append(code)
                    self._sweep(life)
            if self._stopping or (code == 0 and not self._revive):
                return
            time.sleep(RESTART_S)
            with self._lock:
                if not self._held and not self._stopping:
                    self._revive = False
                    self.restarts += 1
                    self._spawn()

    def _sweep(self, life: Life) -> None:
        """End what the life left in its process group, as systemd ends the rest of a unit."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(life.process.pid, signal.SIGKILL)
            self.left_behind += 1

    def _listen(self) -> None:
        try:
            datagram = self._socket.recv(65536).decode(errors="replace")
        except (TimeoutError, OSError):
            return
        life = self._life
        if life is None:
            return
        fields = dict(line.partition("=")[::2] for line in datagram.splitlines())
        if fields.get("READY") == "1":
            life.watched = True
            self.start_s = time.monotonic() - life.began
        if fields.get("READY") == "1" or fields.get("WATCHDOG") == "1":
            life.last_sign = time.monotonic()
        if "EXTEND_TIMEOUT_USEC" in fields or fields.get("STOPPING") == "1":
            life.last_sign = time.monotonic() + STOP_S

    def _guard(self, life: Life) -> None:
        """The watchdog: SIGABRT (and SIGCONT, as systemd sends) first, then SIGKILL."""
        now = time.monotonic()
        if life.aborted is not None:
            if now - life.aborted > ABORT_S:
                self.kill()
        elif life.watched and now - life.last_sign > WATCHDOG_S:
            self.watchdog_kills += 1
            life.aborted = now
            self.kill(signal.SIGABRT)
            self.kill(signal.SIGCONT)
