"""A real mosquitto on loopback with the shipped configuration, to start late, stop, and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.broker import BrokerProcess, find_mosquitto, free_port
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.broker import Login, broker_files
from firmware_cfg.bundles import default_bundle_path
from tests.system.daemon_process import DaemonProcess
from tests.system.waiting import WAIT


@dataclass
class Mosquitto:
    """The shipped broker at a port of its own, with everything logged.

    `extra` are changes to the shipped mosquitto.conf, `listener` to its listener. Without a login everybody
    on loopback is let in and may do everything.
    """

    program: str
    folder: Path
    port: int = field(default_factory=free_port)
    extra: list[str] = field(default_factory=list)
    login: Login = "anonymous"
    tls: bool = False
    listener: list[str] = field(default_factory=list)
    _process: BrokerProcess | None = None

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://127.0.0.1:{self.port}"

    @property
    def settings(self) -> BrokerSettings:
        return BrokerSettings.from_url(self.url)

    def start(self) -> Mosquitto:
        # The user is only looked at when started by root: it shall read the test's files then.
        changes = ["user root", "log_type all", *self.extra]
        config = broker_files(
            self.folder,
            port=self.port,
            login=self.login,
            tls=self.tls,
            changes=changes,
            listener=self.listener,
        )
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

    def kill(self) -> None:
        """Ends the broker at once (SIGKILL); what it had not saved is gone."""
        assert self._process is not None
        self._process.process.kill()
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
        """From the next start on only such logins are let in, and the shipped acl says what they may do."""
        passwords = self.folder / "passwords"
        tool = shutil.which("mosquitto_passwd")
        if tool is None:
            pytest.skip("mosquitto_passwd is not installed")
        create = [] if passwords.exists() else ["-c"]
        subprocess.run([tool, "-b", *create, str(passwords), user, password], check=True, capture_output=True)
        self.login = "passwords"

    def require_certificates(self, authority: Authority) -> None:
        """From the next start on TLS, and only clients that have a certificate of this authority."""
        authority.for_broker(self.folder / "certs")
        self.login, self.tls = "certificates", True


class Authority:
    """Signs certificates, in PEM files as the shipped configuration names them."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _named("test authority")
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = self._sign(name, self._key, constraint, timedelta(days=1))

    def write(self, path: Path) -> Path:
        """The authority's own certificate."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def for_broker(self, folder: Path, *, lasts: timedelta = timedelta(days=1)) -> None:
        """ca.crt, broker.crt and broker.key, for a broker at 127.0.0.1."""
        self.write(folder / "ca.crt")
        host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        self._issue("broker", folder / "broker.crt", host, lasts)

    def for_client(self, name: str, path: Path, *, lasts: timedelta = timedelta(days=1)) -> tuple[Path, Path]:
        """A certificate at `path` for the user `name`, and its key beside it (.key). Returns both."""
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._issue(name, path, use, lasts)

    def _issue(self, name: str, path: Path, extension: Any, lasts: timedelta) -> tuple[Path, Path]:
        key, key_path = ec.generate_private_key(ec.SECP256R1()), path.with_suffix(".key")
        path.parent.mkdir(parents=True, exist_ok=True)
        pem = serialization.Encoding.PEM
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_path.write_bytes(secret)
        path.write_bytes(self._sign(_named(name), key, extension, lasts).public_bytes(pem))
        return path, key_path

    def _sign(self, subject: Any, key: Any, extension: Any, lasts: timedelta) -> Any:
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder(
            subject_name=subject,
            issuer_name=_named("test authority"),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=3),
            not_valid_after=now + lasts,
        )
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


def _named(name: str) -> Any:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


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


class Strict:
    """A way to the broker that hangs up at whoever sends `forbidden`, as some cloud brokers do."""

    def __init__(self, port: int, forbidden: bytes) -> None:
        self._broker = port
        self._forbidden = forbidden
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(("127.0.0.1", self._broker))
                threading.Thread(target=self._carry, args=(client, broker, True), daemon=True).start()
                threading.Thread(target=self._carry, args=(broker, client, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, strict: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if strict and self._forbidden in data:
                    self.cut += 1
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def strict_way() -> Iterator[Callable[[int, bytes], Strict]]:
    """`strict_way(port, forbidden)` -> a way to a broker that hangs up."""
    ways: list[Strict] = []

    def make(port: int, forbidden: bytes) -> Strict:
        ways.append(Strict(port, forbidden))
        return ways[-1]

    yield make
    for way in ways:
        way.close()


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
def authority() -> Authority:
    """One that a broker's and its clients' certificates may come from."""
    return Authority()


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


@pytest.fixture
def daemon(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaemonProcess]:
    """`remoteclip run`, not started yet."""
    if not (default_bundle_path() / "manifest.json").is_file():
        pytest.skip("this checkout has no model bundle in firmware_cfg/bundles/default")
    monkeypatch.setenv("PYTHONPATH", str(repository))
    process = DaemonProcess(tmp_path, repository)
    yield process
    process.cut()
