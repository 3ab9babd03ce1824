"""The bridge between a real mosquitto and a real Cursor-on-Target listener, through losses of either."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from edge.backoff import Backoff
from edge.bridge.bridge import BridgeReport, CotBridge
from edge.bridge.server import CotConnection, CotServer
from edge.broker import free_port
from edge.mqtt.link import MqttLink
from edge.mqtt.settings import BrokerSettings
from edge.outbox.outbox import Outbox
from firmware_cfg.errors import UsageError
from firmware_cfg.messages import Alert, Event, Status
from firmware_cfg.topics import Topics
from tests.edge.bridge.herons import START, heron_event
from tests.system.waiting import WAIT, until

pytest.importorskip("pytak", reason="needs the extra cot")

HERON = Topics("heron-1")
MARKER, DELETE = "remoteclip.heron-1.a1", "remoteclip.heron-1.a1.delete"
END = b"</event>"


class Listener:
    """A TAK server's port: takes connections, and keeps the events that came. Stops and starts again."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.events: list[ET.Element] = []
        self._context = context
        self._open: list[socket.socket] = []
        self._socket: socket.socket | None = None

    def start(self) -> Listener:
        self._socket = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()
        return self

    def stop(self) -> None:
        """As a server that is killed: all its connections end."""
        for each in (self._socket, *self._open):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
        self._socket, self._open = None, []

    def wait_for(self, kind: str, uid: str, number: int = 1) -> ET.Element:
        """The `number`-th event of a type and uid that came."""

        def found() -> list[ET.Element]:
            return [event for event in self.events if (event.get("type"), event.get("uid")) == (kind, uid)]

        assert until(lambda: len(found()) >= number), [event.attrib for event in self.events]
        return found()[number - 1]

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # stopped
            while True:
                client, _ = listening.accept()
                threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            self._open.append(client)
            rest = b""
            while data := client.recv(65536):
                *whole, rest = (rest + data).split(END)
                self.events += [ET.fromstring(event.strip() + END) for event in whole]


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.stop()


@pytest.fixture
def bridge() -> Iterator[Callable[..., Any]]:
    """`bridge(broker, server)` runs one in a thread; returns what stops it and gives its report."""
    stops: list[Callable[[], BridgeReport]] = []

    def start(broker: BrokerSettings, server: CotServer, stale: float = 60.0) -> Callable[[], BridgeReport]:
        running = CotBridge(
            broker,
            server,
            client_id="bridge-1",
            cot_type="a-u-G",
            stale=timedelta(seconds=stale),
            backoff=lambda: Backoff(first=0.05, longest=0.2),
        )
        reports: list[BridgeReport] = []
        thread = threading.Thread(target=lambda: reports.append(running.run()), daemon=True)
        thread.start()

        def stop() -> BridgeReport:
            if thread.is_alive():
                running.stop()
                thread.join(WAIT)
            return reports[0]

        stops.append(stop)
        return stop

    yield start
    for stop in stops:
        stop()


class Drone:
    """heron-1: sends events and the retained alerts that belong to them."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def says(self, kind: str, step: int, **changes: Any) -> Event:
        event = heron_event(kind, step, **changes)
        self._outbox.put(HERON.events, event.to_payload(), kind="alert")
        copy = b"" if kind == "clear" else Alert.from_event(event, START).to_payload()
        self._outbox.put(HERON.alert(event.alert_id), copy, kind="alert", retain=True)
        return event

    def sent(self) -> bool:
        return until(lambda: self._outbox.counts().queued == 0)


@pytest.fixture
def drone(mosquitto: Any, tmp_path: Path) -> Iterator[Drone]:
    mosquitto.start()

    def status(state: Any) -> bytes:
        life = {"session_id": "s1", "session_started_at": START, "boot_id": "b1"}
        return Status(device="heron-1", sent_at=START, state=state, **life).to_payload()

    with (
        Outbox(tmp_path / "box.sqlite3") as outbox,
        MqttLink(mosquitto.settings, outbox, device="heron-1", status=status),
    ):
        yield Drone(outbox)


def tcp(listener: Listener) -> CotServer:
    return CotServer(f"tcp://127.0.0.1:{listener.port}")


def test_an_alert_is_raised_moved_and_removed_on_the_map(
    mosquitto: Any, drone: Drone, listener: Listener, bridge: Callable[..., Any]
) -> None:
    listener.start()
    stop = bridge(mosquitto.settings, tcp(listener))
    now = {"observed_at": datetime.now(timezone.utc)}
    drone.says("raise", 0, **now)
    point = listener.wait_for("a-u-G", MARKER).find("point")
    assert point is not None
    assert (point.get("lat"), point.get("lon"), point.get("ce")) == ("48.2500000", "11.5000000", "7.5")
    listener.wait_for("a-f-A-M-H-Q", "remoteclip.heron-1")
    drone.says("raise", 0, alert_id="nowhere", position=None, h_acc_m=None)
    drone.says("update", 1, **now)
    point = listener.wait_for("a-u-G", MARKER, 2).find("point")
    assert point is not None
    assert point.get("lat") == "48.2510000"
    drone.says("clear", 2)
    ended = listener.wait_for("a-u-G", MARKER, 3)
    assert ended.get("stale") == ended.get("time")
    listener.wait_for("t-x-d-d", DELETE)
    report = stop()
    assert (report.without_position, report.dropped, report.rejected) == (1, 0, 0)
    assert not any("nowhere" in event.get("uid", "") for event in listener.events)


def test_nothing_is_lost_while_the_server_is_away(
    mosquitto: Any, drone: Drone, listener: Listener, bridge: Callable[..., Any]
) -> None:
    listener.start()
    bridge(mosquitto.settings, tcp(listener))
    drone.says("raise", 0)
    drone.says("raise", 0, alert_id="a2")
    listener.wait_for("a-u-G", MARKER)
    listener.wait_for("a-u-G", "remoteclip.heron-1.a2")
    listener.stop()
    drone.says("clear", 1)
    drone.says("raise", 0, alert_id="a3")
    assert drone.sent()
    listener.events.clear()
    listener.start()
    listener.wait_for("t-x-d-d", DELETE)
    for alert in ("a2", "a3"):
        listener.wait_for("a-u-G", f"remoteclip.heron-1.{alert}")


def test_what_happened_while_no_bridge_ran_is_made_up_for(
    mosquitto: Any, drone: Drone, listener: Listener, bridge: Callable[..., Any]
) -> None:
    listener.start()
    stop = bridge(mosquitto.settings, tcp(listener))
    drone.says("raise", 0)
    listener.wait_for("a-u-G", MARKER)
    stop()
    drone.says("clear", 1)
    drone.says("raise", 0, alert_id="a2")
    assert drone.sent()
    bridge(mosquitto.settings, tcp(listener))
    listener.wait_for("t-x-d-d", DELETE)
    listener.wait_for("a-u-G", "remoteclip.heron-1.a2")


def test_a_marker_is_told_again_before_it_goes_stale(
    mosquitto: Any, drone: Drone, listener: Listener, bridge: Callable[..., Any]
) -> None:
    listener.start()
    bridge(mosquitto.settings, tcp(listener), stale=1.5)
    drone.says("raise", 0)
    first, second = (listener.wait_for("a-u-G", MARKER, number) for number in (1, 2))
    assert second.get("stale", "") > first.get("stale", "")
    assert second.get("start") == first.get("start")


@pytest.fixture
def tak(authority: Any, tmp_path: Path) -> Iterator[Listener]:
    """A TAK server's TLS port, which lets in who has a certificate of the authority."""
    authority.for_broker(tmp_path / "tak")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tak" / "broker.crt", tmp_path / "tak" / "broker.key")
    context.load_verify_locations(tmp_path / "tak" / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    found = Listener(context).start()
    yield found
    found.stop()


def test_tls_checks_the_server_and_shows_a_certificate(
    mosquitto: Any,
    drone: Drone,
    authority: Any,
    tak: Listener,
    bridge: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    certificate, key = authority.for_client("bridge", tmp_path / "100%" / "bridge.crt")
    server = CotServer(f"tls://127.0.0.1:{tak.port}", tmp_path / "tak" / "ca.crt", certificate, key)
    stop = bridge(mosquitto.settings, server)
    drone.says("raise", 0)
    tak.wait_for("a-u-G", MARKER)
    stop()
    stranger = type(authority)().write(tmp_path / "stranger.crt")
    bridge(mosquitto.settings, replace(server, ca=stranger))
    assert until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)


def locked(certificate: Path, key: Path, p12: Path) -> None:
    """Write both into a .p12, and the key anew, under the password "atak"; a trust store has no key."""
    lock = serialization.BestAvailableEncryption(b"atak")
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    shown = x509.load_pem_x509_certificate(certificate.read_bytes())
    p12.write_bytes(pkcs12.serialize_key_and_certificates(b"bridge", secret, shown, None, lock))
    trust = pkcs12.serialize_key_and_certificates(b"ca", None, shown, None, lock)
    p12.with_name("trust.p12").write_bytes(trust)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    key.write_bytes(secret.private_bytes(*form, lock))


def test_a_locked_key_opens_with_its_password_and_without_it_nobody_is_asked(
    mosquitto: Any,
    drone: Drone,
    authority: Any,
    tak: Listener,
    bridge: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    certificate, key = authority.for_client("bridge", tmp_path / "bridge.crt")
    p12 = tmp_path / "bridge.p12"
    locked(certificate, key, p12)
    monkeypatch.setenv("TAK_PASSWORD", "atak")
    url, ca = f"tls://127.0.0.1:{tak.port}", tmp_path / "tak" / "ca.crt"
    drone.says("raise", 0)
    for server in (CotServer(url, ca, p12), CotServer(url, ca, certificate, key)):
        tak.events.clear()
        stop = bridge(mosquitto.settings, replace(server, password_env="TAK_PASSWORD"))
        tak.wait_for("a-u-G", MARKER)
        stop()
    with pytest.raises(UsageError, match=r"a \.p12 has a password, give it with --cot-password-env"):
        CotServer(url, ca, p12).check()
    for server in (
        CotServer(url, ca, certificate, key),
        CotServer(url, ca, p12.with_name("trust.p12"), None, "TAK_PASSWORD"),
    ):
        server.check()
        with pytest.raises(OSError, match="does not open with its key and password"):
            asyncio.run(CotConnection.open(server))
    assert "pass phrase" not in capfd.readouterr().err


def test_udp_gets_an_event_a_datagram(mosquitto: Any, drone: Drone, bridge: Callable[..., Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(WAIT)
        bridge(mosquitto.settings, CotServer(f"udp://127.0.0.1:{receiver.getsockname()[1]}"))
        drone.says("raise", 0, pose=None)
        assert ET.fromstring(receiver.recv(65536)).get("uid") == MARKER


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        (CotServer("http://tak:80"), "--cot must be tcp://HOST:PORT"),
        (CotServer("tcp://me:secret@tak:8087"), "--cot must be tcp://HOST:PORT"),
        (CotServer("tcp://tak"), "--cot must be tcp://HOST:PORT"),
        (CotServer("tcp://tak:99999"), "--cot must be tcp://HOST:PORT"),
        (CotServer("tcp://tak:8087", ca=Path("ca.pem")), "need tls://"),
        (CotServer("tls://tak:8089"), "tls:// needs --cot-ca and --cot-cert"),
        (
            CotServer("tls://tak:8089", Path("no.pem"), Path("no.pem")),
            "--cot-ca no.pem: there is no such file",
        ),
    ],
)
def test_what_can_never_work_is_said_at_once(server: CotServer, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        server.check()
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)
