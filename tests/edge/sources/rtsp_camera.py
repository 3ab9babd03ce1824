"""A real RTSP server in a child process, to kill and freeze, and a link to it that damages what passes."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.faults.proxy import Proxy
from edge.broker import free_port

_PYTHON = "/usr/bin/python3"
_SERVER = Path(__file__).with_name("rtsp_server.py")
_ASKED = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


def skip_without_server() -> None:
    """Skips where Debian's packages are not installed."""
    if (
        not Path(_PYTHON).exists()
        or subprocess.run([_PYTHON, "-c", _ASKED], check=False, capture_output=True).returncode
    ):
        pytest.skip(
            "no RTSP server (apt install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-ugly)"
        )


@dataclass
class RtspCamera:
    """The camera of rtsp_server.py at a port that stays the same from one start to the next."""

    locked: bool = False
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[str] | None = None

    def url(self, path: str = "cam", port: int | None = None) -> str:
        return f"rtsp://127.0.0.1:{port or self.port}/{path}"

    def start(self) -> RtspCamera:
        words = [_PYTHON, str(_SERVER), str(self.port), *(["--locked"] if self.locked else [])]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("ready")
        return self

    def say(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            with self._process as process:  # waits, and closes its pipes
                process.kill()
            self._process = None


class BadLink(Proxy):
    """A link on which each byte on its way from the camera is another one with this probability."""

    damage = 0.0

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self._target_port = target
        self._dice = random.Random(7)

    def _send(self, target: socket.socket, data: bytes) -> None:
        if self.damage and target.getpeername()[1] != self._target_port:
            harmed = bytearray(data)
            for place in range(len(harmed)):
                if self._dice.random() < self.damage:
                    harmed[place] ^= 0x55
            data = bytes(harmed)
        super()._send(target, data)
