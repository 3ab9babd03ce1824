"""The shipped mosquitto on loopback, which faults kill, stop, freeze and start again on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from edge.broker import BrokerProcess, find_mosquitto, free_port
from firmware_cfg.broker import Login, broker_files
from firmware_cfg.errors import BrokerError


@dataclass
class Broker:
    """A broker at a port of its own. `changes` are lines in place of the shipped ones.

    Without a login it lets everybody on loopback do everything.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    changes: list[str] = field(default_factory=list)
    login: Login = "anonymous"
    tls: bool = False
    _process: BrokerProcess | None = None

    @property
    def certificates(self) -> Path:
        """Where it looks for ca.crt, broker.crt and broker.key."""
        return self.folder / "certs"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.process.pid

    @property
    def running(self) -> bool:
        """Whether it was started, and not ended since."""
        return self._process is not None

    def log(self) -> str:
        """All that it said so far."""
        return (self.folder / "mosquitto.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it; it listens when this returns. Raises BrokerError."""
        program = find_mosquitto()
        if program is None:
            raise BrokerError("mosquitto is not installed (apt install mosquitto)")
        self.folder.mkdir(exist_ok=True)
        config = broker_files(
            self.folder,
            port=self.port,
            login=self.login,
            tls=self.tls,
            # The user is only looked at when started by root: it shall read these files then.
            changes=["user root", *self.changes],
        )
        log = self.folder / "mosquitto.log"
        self._process = BrokerProcess("mosquitto", [program, "-c", str(config)], self.port, log)

    def set_password(self, user: str, password: str) -> None:
        """For brokers with the login "passwords"; read at the next start, or after `reload`."""
        tool = shutil.which("mosquitto_passwd")
        if tool is None:
            raise BrokerError("mosquitto_passwd is not installed (apt install mosquitto)")
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "passwords"
        create = [] if file.exists() else ["-c"]
        subprocess.run([tool, "-b", *create, str(file), user, password], check=True, capture_output=True)

    def reload(self) -> None:
        """Make it read its passwords and acl again."""
        assert self._process is not None
        os.kill(self._process.process.pid, signal.SIGHUP)

    def kill(self) -> None:
        """SIGKILL: what it had not saved is gone."""
        if self._process is not None:
            self._process.process.kill()
            self._process.stop()
            self._process = None

    def stop(self) -> None:
        """End it in order. May be called twice."""
        if self._process is not None:
            self.thaw()
            self._process.stop()
            self._process = None

    def freeze(self) -> None:
        """The kernel still takes bytes for it, but nothing is answered."""
        assert self._process is not None
        os.kill(self._process.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """End `freeze`."""
        if self._process is not None and self._process.process.poll() is None:
            os.kill(self._process.process.pid, signal.SIGCONT)
