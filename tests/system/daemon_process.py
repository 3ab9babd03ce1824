"""`remoteclip run` as a process of its own, and what a subscriber hears of it.

What the model sees does not matter here: with a threshold of 0 every place counts.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import pytest

START_S, END_S = 120.0, 60.0  # patience with a busy machine, not expectations
FPS = 10
DEVICE = "bird"
ROOT = f"remoteclip/1/{DEVICE}"
PROMPTS = """
prompts:
  - id: anything
    text: a car seen from above
    threshold: 0.0
    alerts: [{when: count >= 1, severity: warning}]
background: [grass]
"""

Messages = list[tuple[str, bytes, bool]]


class Box(Protocol):
    """The Inbox of conftest.py."""

    @property
    def messages(self) -> Messages: ...


def write_video(path: Path, frames: int) -> None:
    """A grey ground with a bright square that wanders."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        for number in range(frames):
            pixels = np.full((192, 320, 3), 90, np.uint8)
            left = 20 + number % 200
            pixels[80:110, left : left + 40] = (230, 40, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


class DaemonProcess:
    """`remoteclip run` on a device file in `folder`."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.folder = folder
        self.device_file = folder / "device.yaml"
        self._repository = repository
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, broker_url: str, *, seconds: float, realtime: bool, mqtt: str = "") -> None:
        """A recording as its source."""
        write_video(self.folder / "flight.mp4", int(seconds * FPS))
        self.write_files(broker_url, f"{{uri: flight.mp4, realtime: {str(realtime).lower()}}}", mqtt)

    def write_files(self, broker_url: str, source: str, mqtt: str = "") -> None:
        """The device file with this `source` section, and its prompt list."""
        (self.folder / "prompts.yaml").write_text(PROMPTS)
        self.device_file.write_text(
            f"device: {DEVICE}\n"
            f"source: {source}\n"
            "prompts: prompts.yaml\n"
            f"mqtt: {{url: '{broker_url}'{mqtt}}}\n"
            "state_dir: state\n"
            "counts_interval: 200ms\n"
        )

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge.cli", "run", str(self.device_file)],
                cwd=self._repository,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        assert self._process is not None
        return self._process.wait(END_S)

    def cut(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def bodies(messages: Messages, topic: str) -> list[dict[str, Any]]:
    return [json.loads(payload) for name, payload, _ in messages if name == f"{ROOT}/{topic}" and payload]


def wait_for(box: Box, wanted: Callable[[Messages], bool]) -> Messages:
    """The messages so far, once `wanted` holds for them; with the patience that starting a process takes."""
    deadline = time.monotonic() + START_S
    while not wanted(messages := box.messages):
        if time.monotonic() > deadline:
            topics = [topic.removeprefix(f"{ROOT}/") for topic, _, _ in messages[-50:]]
            pytest.fail(f"not received in {START_S:g} s; so far {len(messages)} messages, last on {topics}")
        time.sleep(0.05)
    return messages
