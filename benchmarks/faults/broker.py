"""A real mosquitto on loopback, which faults kill, stop, freeze and start again on the same port."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from edge.broker import BrokerProcess, find_mosquitto, free_port
from firmware_cfg.errors import BrokerError


@dataclass
class Broker:
    """A broker at a port of its own. `extra` are further lines of its configuration."""

    folder: Path
    port: int = field(default_factory=free_port)
    extra: list[str] = field(default_factory=list)
    _process: BrokerProcess | None = None

    def start(self) -> None:
        """Start it; it listens when this returns. Raises BrokerError."""
        program = find_mosquitto()
        if program is None:
            raise BrokerError("mosquitto is not installed (apt install mosquitto)")
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "max_queued_messages 100000",
            "user root",
            *self.extra,
        ]
        config.write_text("\n".join(lines) + "\n")
        self._process = BrokerProcess(
            "mosquitto", [program, "-c", str(config)], self.port, self.folder / "mosquitto.log"
        )

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
