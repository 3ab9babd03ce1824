"""`remoteclip run` with a real RTSP camera that comes late, is lost, changes its pictures and freezes."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from edge.health.file import judge
from tests.edge.sources.rtsp_camera import RtspCamera, skip_without_server
from tests.system.daemon_process import Box, DaemonProcess, Messages, bodies, wait_for
from tests.system.waiting import until

WAITING, LOADING, FLYING = "STATUS=waiting for the camera", "STATUS=loading the engine", "STATUS=flying"


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: Path) -> None:
        self.heard: list[list[str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def hears(self, line: str, after: int = -1) -> int:
        """Waits for a datagram with this line, later than the one of number `after`; returns its number."""

        def numbers() -> list[int]:
            return [number for number, lines in enumerate(self.heard) if number > after and line in lines]

        assert until(lambda: bool(numbers())), f"{line} is not in {self.heard[after + 1 :]}"
        return numbers()[0]

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while datagram := self._socket.recv(4096):
            self.heard.append(datagram.decode().split("\n"))


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    """One that has a watchdog."""
    listening = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    yield listening
    listening.close()


@pytest.fixture
def camera() -> Iterator[RtspCamera]:
    """One that asks for a password, not started yet."""
    skip_without_server()
    absent = RtspCamera(locked=True)
    yield absent
    absent.kill()


@pytest.fixture
def flight(daemon: DaemonProcess, mosquitto: Any, camera: RtspCamera) -> DaemonProcess:
    """A daemon for that camera, not started yet."""
    mosquitto.start()
    password = daemon.folder / "camera.password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    login = "username: pilot, password_file: camera.password"
    daemon.write_files(mosquitto.url, f"{{uri: '{camera.url()}', {login}}}")
    return daemon


def newest(messages: Messages, topic: str, field: str) -> Any:
    """Of the newest message; None before the first one."""
    return next((body[field] for body in reversed(bodies(messages, topic))), None)


def counted_beyond(box: Box, frame: int) -> Messages:
    """The messages as soon as there are counts of a later frame."""
    return wait_for(box, lambda messages: (newest(messages, "counts/anything", "frame") or 0) > frame)


def test_a_drone_starts_without_its_camera_says_so_and_ends_when_asked(
    flight: DaemonProcess, systemd: Systemd, camera: RtspCamera, mosquitto: Any, subscribe: Any
) -> None:
    box: Box = subscribe(mosquitto.settings)
    flight.start()
    ready = systemd.hears("READY=1")
    assert systemd.heard[ready] == ["READY=1", WAITING]
    systemd.hears("WATCHDOG=1", ready)
    messages = wait_for(box, lambda messages: bool(newest(messages, "health", "camera_problem")))
    assert newest(messages, "health", "camera_problem").startswith(f"{camera.url()}: nothing listens")
    assert (newest(messages, "health", "frames"), newest(messages, "health", "camera_outages")) == (0, 1)
    verdict = judge(flight.folder / "state")
    assert not verdict.ok
    assert f"after the start: {camera.url()}: nothing listens" in verdict.line
    flight.send(signal.SIGTERM)
    assert flight.end() == 0
    systemd.hears("STOPPING=1", ready)
    messages = wait_for(box, lambda messages: newest(messages, "status", "state") == "stopped")
    assert newest(messages, "status", "reason") == "SIGTERM"
    assert [lines for lines in systemd.heard if WAITING in lines] == [["READY=1", WAITING]]
    assert "Traceback" not in flight.log


def test_a_flight_goes_on_through_what_happens_to_its_camera(
    flight: DaemonProcess, systemd: Systemd, camera: RtspCamera, mosquitto: Any, subscribe: Any
) -> None:
    box: Box = subscribe(mosquitto.settings)
    flight.start()
    absent = systemd.hears(WAITING)
    camera.start()
    loading = systemd.hears(LOADING, absent)
    flying = systemd.hears(FLYING, loading)
    before = counted_beyond(box, 10)
    assert newest(before, "counts/anything", "count") >= 1

    camera.kill()
    lost = systemd.hears(WAITING, flying)
    camera.start()
    found = systemd.hears(FLYING, lost)
    after = counted_beyond(box, newest(box.messages, "counts/anything", "frame"))
    counts = bodies(after, "counts/anything")
    moments = [(body["frame"], datetime.fromisoformat(body["observed_at"][:-1])) for body in counts]
    assert moments == sorted(moments)
    assert counts[-1]["unique"] >= bodies(before, "counts/anything")[-1]["unique"]

    camera.say("resize 240 240")
    systemd.hears(FLYING, systemd.hears(LOADING, found))
    messages = wait_for(box, lambda messages: newest(messages, "health", "image_size") == [256, 256])
    assert newest(messages, "health", "camera_outages") == 2  # not there at first, and lost
    assert newest(messages, "health", "camera_problem") is None
    assert sum(newest(messages, "health", "skipped").values()) > 0  # missed while it was away
    counted_beyond(box, newest(messages, "counts/anything", "frame"))

    camera.freeze()
    flight.send(signal.SIGTERM)
    assert flight.end() == 0
    wait_for(box, lambda messages: newest(messages, "status", "state") == "stopped")
    assert "left while still at work" not in flight.log
    assert "Traceback" not in flight.log
    assert "s3cret" not in flight.log
