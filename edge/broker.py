"""A broker for the demo: mosquitto where installed, else amqtt, in a process of its own, on loopback."""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from edge.mqtt.settings import BrokerSettings
from firmware_cfg.broker_url import parse_broker_url
from firmware_cfg.errors import BrokerError, MissingExtra

log = logging.getLogger(__name__)

BrokerKind = Literal["mosquitto", "amqtt"]

START_TIMEOUT = 30.0  # seconds; amqtt on a busy small machine needs some
STOP_TIMEOUT = 5.0
_LOOPBACK = "127.0.0.1"
# Debian keeps mosquitto where a plain user's PATH does not look.
_SBIN = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
"""
_AMQTT = """\
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


class BrokerProcess:
    """A broker in a child process, listening on loopback at `port`. `stop` ends it; so does our own exit.

    Raises BrokerError, with the broker's own last words, if it does not come up.
    """

    def __init__(self, name: str, command: Sequence[str], port: int, log_path: Path) -> None:
        self.name = name
        self.port = port
        self.url = f"mqtt://{_LOOPBACK}:{port}"
        self._log_path = log_path
        if _listens(port):  # that program would be taken for ours
            raise BrokerError(f"port {port} is taken by another program (choose another port)")
        with log_path.open("ab") as output:
            # Its own session: Ctrl-C must reach the daemon, not the broker that carries the daemon's goodbye.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        atexit.register(self.stop)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the process and waits for its end. May be called twice."""
        atexit.unregister(self.stop)
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while self.process.poll() is None:
            if _listens(self.port):
                return
            if time.monotonic() > deadline:
                raise BrokerError(f"{self.name} does not listen on port {self.port}{self._words()}")
            time.sleep(0.05)
        raise BrokerError(f"{self.name} ended with code {self.process.returncode}{self._words()}")

    def _words(self) -> str:
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f": {lines[-1].strip()}" if lines else ""


class DemoBroker:
    """A running demo broker: `url`, `settings` to connect with, `name` ("mosquitto" or "amqtt"), `stop`."""

    def __init__(self, process: BrokerProcess, folder: tempfile.TemporaryDirectory[str]) -> None:
        self.url = process.url
        self.name = process.name
        # amqtt would be found out, too, but only by waiting for an answer that does not come.
        self.settings = BrokerSettings(
            parse_broker_url(process.url), first_version="5" if process.name == "mosquitto" else "3.1.1"
        )
        self._process = process
        self._folder = folder

    def stop(self) -> None:
        """Ends the broker. May be called twice."""
        self._process.stop()
        self._folder.cleanup()

    def __enter__(self) -> DemoBroker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def start_demo_broker(port: int = 0, *, kind: BrokerKind | None = None) -> DemoBroker:
    """Starts a broker without login on loopback; port 0 takes a free one.

    `kind` None prefers mosquitto and falls back to amqtt. Raises BrokerError when it does not start,
    MissingExtra when neither is installed.
    """
    commands: dict[BrokerKind, Callable[[Path, int], list[str]]] = {}
    if (mosquitto := find_mosquitto()) is not None and kind != "amqtt":
        commands["mosquitto"] = lambda folder, port: _mosquitto_command(mosquitto, folder, port)
    if importlib.util.find_spec("amqtt") is not None and kind != "mosquitto":
        commands["amqtt"] = _amqtt_command
    if not commands:
        if kind == "mosquitto":
            raise BrokerError("mosquitto is not installed (apt install mosquitto)")
        raise MissingExtra("amqtt", extra="demo")
    problem: BrokerError | None = None
    for name, command in commands.items():
        try:
            return _start(name, command, port)
        except BrokerError as error:
            log.warning("%s", error)
            problem = error
    assert problem is not None
    raise problem


def find_mosquitto() -> str | None:
    """The mosquitto program, also where only root's PATH looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=os.pathsep.join(_SBIN))


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((_LOOPBACK, port)) == 0


def _start(name: BrokerKind, command: Callable[[Path, int], list[str]], port: int) -> DemoBroker:
    tries = 1 if port else 3  # somebody else may take a free port before the broker does
    while True:
        tries -= 1
        folder = tempfile.TemporaryDirectory(prefix=f"remoteclip-{name}-")
        chosen = port or free_port()
        place = Path(folder.name)
        try:
            return DemoBroker(BrokerProcess(name, command(place, chosen), chosen, place / "log"), folder)
        except (BrokerError, OSError) as error:
            folder.cleanup()
            if tries == 0:
                raise BrokerError(f"the demo's broker did not start: {error}") from error


def _mosquitto_command(program: str, folder: Path, port: int) -> list[str]:
    config = folder / "mosquitto.conf"
    config.write_text(_MOSQUITTO.format(port=port), encoding="utf-8")
    return [program, "-c", str(config)]


def _amqtt_command(folder: Path, port: int) -> list[str]:
    config = folder / "amqtt.yaml"
    config.write_text(_AMQTT.format(port=port), encoding="utf-8")
    return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(config)]
