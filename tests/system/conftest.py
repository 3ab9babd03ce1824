"""A real mosquitto on loopback, which a test can start late, stop, and start again on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.broker import BrokerProcess, find_mosquitto, free_port
from edge.broker_settings import BrokerSettings
from edge.subscriber import Subscriber

WAIT = 120.0  # seconds; patience with a busy machine before a test fails, not an expectation


@dataclass
class Mosquitto:
    """A broker at a port of its own. `listener` and `extra` are further lines of its mosquitto.conf."""

    program: str
    folder: Path
    port: int = field(default_factory=free_port)
    extra: list[str] = field(default_factory=list)
    anonymous: bool = True
    listener: list[str] = field(default_factory=list)
    _process: BrokerProcess | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def settings(self) -> BrokerSettings:
        return BrokerSettings.from_url(self.url)

    def start(self) -> Mosquitto:
        config = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            *self.listener,
            f"allow_anonymous {str(self.anonymous).lower()}",
            "persistence false",
            "user root",  # only looked at when started by root: it shall read the test's files then
            "log_type all",
            *self.extra,
        ]
        config.write_text("\n".join(lines) + "\n")
        self._process = BrokerProcess(
            "mosquitto", [self.program, "-c", str(config)], self.port, self.log_path
        )
        return self

    def stop(self) -> None:
        if self._process is not None:
            if self._process.process.poll() is None:
                self.resume()
            self._process.stop()
            self._process = None

    def pause(self) -> None:
        """Freezes the broker: the kernel still takes bytes for it, but nothing is answered."""
        assert self._process is not None
        os.kill(self._process.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `pause`."""
        assert self._process is not None
        os.kill(self._process.process.pid, signal.SIGCONT)

    @property
    def log_path(self) -> Path:
        return self.folder / "mosquitto.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def require_password(self, user: str, password: str) -> None:
        """From the next start on only this login is let in."""
        passwords = self.folder / "passwords"
        tool = shutil.which("mosquitto_passwd")
        if tool is None:
            pytest.skip("mosquitto_passwd is not installed")
        subprocess.run([tool, "-b", "-c", str(passwords), user, password], check=True, capture_output=True)
        self.anonymous = False
        self.extra.append(f"password_file {passwords}")


class Inbox:
    """Messages as a subscriber got them, in order: (topic, payload, retained)."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[tuple[str, bytes, bool]] = []

    def __call__(self, topic: str, payload: bytes, retained: bool) -> None:
        with self._changed:
            self._messages.append((topic, payload, retained))
            self._changed.notify_all()

    @property
    def messages(self) -> list[tuple[str, bytes, bool]]:
        with self._changed:
            return list(self._messages)

    def wait_for(
        self, wanted: Callable[[list[tuple[str, bytes, bool]]], bool]
    ) -> list[tuple[str, bytes, bool]]:
        """Waits until `wanted` holds for the messages so far and returns them; else fails the test."""
        with self._changed:
            if not self._changed.wait_for(lambda: wanted(self._messages), WAIT):
                pytest.fail(f"not received in {WAIT:g} s; received so far: {self._messages}")
            return list(self._messages)

    def wait_payload(self, topic: str, payload: bytes) -> list[tuple[str, bytes, bool]]:
        """Waits until this payload came on this topic."""
        return self.wait_for(lambda messages: any(m[:2] == (topic, payload) for m in messages))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that is not started yet (`.start()`), with a port reserved for it."""
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(program, folder)
    yield broker
    broker.stop()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Inbox]]:
    """`subscribe(settings, *filters)` -> an Inbox that a subscriber fills, one the broker has accepted."""
    subscribers: list[Subscriber] = []

    def make(settings: BrokerSettings, *filters: str, client_id: str | None = None) -> Inbox:
        inbox = Inbox()
        subscriber = Subscriber(settings, filters or ("#",), inbox, client_id=client_id)
        subscribers.append(subscriber)
        subscriber.start()
        assert subscriber.wait_online(WAIT), subscriber.problem
        return inbox

    yield make
    for subscriber in subscribers:
        subscriber.stop()
