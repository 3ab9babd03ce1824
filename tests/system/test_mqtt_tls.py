"""Certificates that are wrong, expired or replaced in flight, against a real mosquitto over real sockets."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.backoff import Backoff
from edge.mqtt.credentials import Credentials
from edge.mqtt.link import MqttLink
from edge.mqtt.settings import BrokerSettings
from edge.outbox.outbox import Outbox
from firmware_cfg.broker_url import parse_broker_url
from firmware_cfg.topics import Topics
from tests.system.waiting import WAIT, until

SWIFT = Topics("swift-1")
BIRTH = (SWIFT.status, b"online", False)
EXPIRED = timedelta(days=-1)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.sqlite3") as box:
        yield box


@pytest.fixture
def swift(mosquitto: Any, authority: Any) -> BrokerSettings:
    """The login of swift-1 at a broker that wants certificates and is not started yet."""
    mosquitto.require_certificates(authority)
    certificate, key = authority.for_client("swift-1", mosquitto.folder / "swift-1.crt")
    ca = mosquitto.folder / "certs" / "ca.crt"
    return replace(mosquitto.settings, ca=ca, certificate=certificate, key=key)


def link_to(settings: BrokerSettings, outbox: Outbox) -> MqttLink:
    return MqttLink(
        settings,
        outbox,
        device="swift-1",
        status=lambda state: state,
        backoff=Backoff(first=0.05, longest=0.2),
        credential_check=0.05,
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_new_certificate_is_taken_in_flight_without_a_last_will(
    mosquitto: Any, authority: Any, swift: BrokerSettings, subscribe: Any, outbox: Outbox
) -> None:
    mosquitto.start()
    viewer, viewer_key = authority.for_client("viewer", mosquitto.folder / "viewer.crt")
    inbox = subscribe(replace(swift, certificate=viewer, key=viewer_key), "remoteclip/1/#")
    with link_to(swift, outbox) as link:
        assert link.wait_online(WAIT)
        for number in range(2):
            authority.for_client("swift-1", swift.certificate)
            inbox.wait_for(lambda got: got.count(BIRTH) == number + 2)  # noqa: B023
            outbox.put(SWIFT.events, f"event {number}", kind="alert")
            inbox.wait_payload(SWIFT.events, f"event {number}".encode())
    received = inbox.wait_payload(SWIFT.status, b"stopped")
    assert [payload for topic, payload, _ in received if topic == SWIFT.events] == [
        b"event 0",
        b"event 1",
    ]
    assert [payload for topic, payload, _ in received if topic == SWIFT.status] == [
        *[b"online"] * 3,
        b"stopped",
    ]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        ("garbage", "name PEM files"),
        ("foreign key", "tls.key does not belong to tls.cert"),
        ("swapped", "tls.cert holds a key, tls.key a certificate (swap them)"),
        ("foreign authority", "refused by the broker"),
        ("expired", "refused, it expired at"),
        ("gone", "No such file"),
    ],
)
def test_a_new_certificate_that_cannot_work_is_one_warning_and_the_old_connection_stays(
    mosquitto: Any,
    authority: Any,
    swift: BrokerSettings,
    outbox: Outbox,
    caplog: pytest.LogCaptureFixture,
    spoil: str,
    line: str,
) -> None:
    mosquitto.start()
    certificate, key = swift.certificate, swift.key
    assert certificate is not None
    assert key is not None
    with link_to(swift, outbox) as link:
        assert link.wait_online(WAIT)
        if spoil == "garbage":
            certificate.write_text("no certificate at all")
        elif spoil == "foreign key":
            _, other_key = authority.for_client("swift-1", mosquitto.folder / "other.crt")
            key.write_bytes(other_key.read_bytes())
        elif spoil == "swapped":
            certificate_bytes, key_bytes = certificate.read_bytes(), key.read_bytes()
            certificate.write_bytes(key_bytes)
            key.write_bytes(certificate_bytes)
        elif spoil == "foreign authority":
            type(authority)().for_client("swift-1", certificate)
        elif spoil == "expired":
            authority.for_client("swift-1", certificate, lasts=EXPIRED)
        else:
            certificate.unlink()
        assert until(lambda: bool(warnings(caplog)))
        assert link.state == "online"
        outbox.put(SWIFT.events, "still there", kind="alert")
        assert until(lambda: outbox.counts().queued == 0)
        (warning,) = warnings(caplog)
        assert line in warning
        assert str(certificate) in warning
        assert "old login stays" in warning
        assert mosquitto.log.count("as swift-1 (p5") == 1


def test_an_expired_certificate_is_named_and_a_new_one_is_taken_without_a_restart(
    mosquitto: Any, authority: Any, swift: BrokerSettings, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    authority.for_client("swift-1", swift.certificate, lasts=EXPIRED)
    mosquitto.start()
    outbox.put(SWIFT.events, "kept", kind="alert")
    with link_to(swift, outbox) as link:
        assert until(lambda: f"tls.cert {swift.certificate}: refused, it expired at" in link.problem)
        assert outbox.counts().alert == 1
        authority.for_client("swift-1", swift.certificate)
        assert until(lambda: outbox.counts().queued == 0)
    assert "put a new one there" in warnings(caplog)[0]


def test_an_expired_certificate_of_the_broker_is_named_with_the_clock_as_a_suspect(
    mosquitto: Any, authority: Any, swift: BrokerSettings, outbox: Outbox
) -> None:
    authority.for_broker(mosquitto.folder / "certs", lasts=EXPIRED)
    mosquitto.start()
    outbox.put(SWIFT.events, "kept", kind="alert")
    with link_to(swift, outbox) as link:
        assert until(lambda: "certificate has expired (renew it at the broker, or mend" in link.problem)
    assert outbox.counts().alert == 1


def test_a_broker_that_wants_a_certificate_says_so_to_a_device_without_one(
    mosquitto: Any, swift: BrokerSettings, outbox: Outbox
) -> None:
    mosquitto.start()
    with link_to(replace(swift, certificate=None, key=None), outbox) as link:
        assert until(lambda: "the broker wants a certificate: certificate required" in link.problem)


def test_a_broker_without_tls_on_that_port_is_named(mosquitto: Any, tmp_path: Path, outbox: Outbox) -> None:
    mosquitto.start()
    mosquitto.tls = True  # in the address alone
    with link_to(mosquitto.settings, outbox) as link:
        assert until(lambda: link.state == "offline")
        assert "TLS" in link.problem


def test_a_port_with_tls_is_suspected_where_the_address_has_none(
    mosquitto: Any, swift: BrokerSettings, outbox: Outbox
) -> None:
    mosquitto.start()
    settings = replace(swift, address=parse_broker_url(f"mqtt://127.0.0.1:{mosquitto.port}"))
    with link_to(settings, outbox) as link:
        assert until(lambda: "use mqtts://" in link.problem)


def test_a_login_has_the_user_name_or_the_name_in_the_certificate(tmp_path: Path, authority: Any) -> None:
    address = parse_broker_url("mqtts://broker.example")
    certificate, _ = authority.for_client("kestrel-1", tmp_path / "kestrel.crt")
    assert BrokerSettings(address).login_name() is None
    assert BrokerSettings(address, certificate=certificate).login_name() == "kestrel-1"
    assert BrokerSettings(address, username="viewer", certificate=certificate).login_name() == "viewer"
    certificate.write_text("no certificate")
    assert BrokerSettings(address, certificate=certificate).login_name() is None


def test_a_new_password_is_taken_in_flight(
    mosquitto: Any, subscribe: Any, tmp_path: Path, outbox: Outbox
) -> None:
    mosquitto.require_password("swift-1", "secret")
    mosquitto.start()
    password = tmp_path / "password"
    password.write_text("secret\n")
    settings = replace(mosquitto.settings, username="swift-1", password_file=password)
    with link_to(settings, outbox) as link:
        assert link.wait_online(WAIT)
        password.write_text("secret\n# changed on 1 April\n")
        assert until(lambda: mosquitto.log.count("as remoteclip-swift-1 (p5") == 2)
        outbox.put(SWIFT.events, "after it", kind="alert")
        assert until(lambda: outbox.counts().queued == 0)


class Operator:
    """A broker with passwords, the file of swift-1's, and what a viewer hears of it."""

    def __init__(self, mosquitto: Any, subscribe: Any, tmp_path: Path) -> None:
        for user in ("swift-1", "viewer"):
            mosquitto.require_password(user, "secret")
        mosquitto.start()
        self.password = tmp_path / "password"
        self.password.write_text("secret\n")
        self.settings = replace(mosquitto.settings, username="swift-1", password_file=self.password)
        own = tmp_path / "viewer"
        own.write_text("secret\n")
        self.inbox = subscribe(replace(self.settings, username="viewer", password_file=own), "remoteclip/1/#")

    def statuses(self) -> list[bytes]:
        return [payload for topic, payload, _ in self.inbox.messages if topic == SWIFT.status]


@pytest.fixture
def operator(mosquitto: Any, subscribe: Any, tmp_path: Path) -> Operator:
    return Operator(mosquitto, subscribe, tmp_path)


def test_a_mistyped_password_is_one_warning_and_the_old_connection_stays(
    operator: Operator, mosquitto: Any, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    with link_to(operator.settings, outbox) as link:
        operator.inbox.wait_payload(*BIRTH[:2])
        operator.password.write_text("secert\n")
        assert until(lambda: bool(warnings(caplog)))
        outbox.put(SWIFT.events, "still there", kind="alert")
        operator.inbox.wait_payload(SWIFT.events, b"still there")
        assert link.state == "online"
        operator.password.write_text("secret\n# now right\n")
        operator.inbox.wait_for(lambda got: got.count(BIRTH) == 2)
    (warning,) = warnings(caplog)
    assert "refused the password or the user name 'swift-1'" in warning
    assert "old login stays" in warning
    operator.inbox.wait_payload(SWIFT.status, b"stopped")
    assert operator.statuses() == [b"online", b"online", b"stopped"]


def test_where_a_new_password_cannot_be_tried_out_the_last_will_says_what_comes_of_it(
    operator: Operator, mosquitto: Any, strict_way: Any, outbox: Outbox
) -> None:
    """A broker that ends the connection of every client id but the device's own."""
    way = strict_way(mosquitto.port, b"remoteclip-swift-1-")
    settings = replace(operator.settings, address=parse_broker_url(f"mqtt://127.0.0.1:{way.port}"))
    with link_to(settings, outbox) as link:
        operator.inbox.wait_payload(*BIRTH[:2])
        operator.password.write_text("secert\n")
        operator.inbox.wait_payload(SWIFT.status, b"offline")
        assert until(lambda: "refused the password" in link.problem)
        operator.password.write_text("secret\n")
        operator.inbox.wait_for(lambda got: got.count(BIRTH) == 2)


def test_a_certificate_of_another_name_is_taken_with_a_last_will(
    mosquitto: Any, authority: Any, swift: BrokerSettings, subscribe: Any, outbox: Outbox
) -> None:
    """Whether the broker lets that name in is known when the old connection has been given up."""
    mosquitto.start()
    viewer, viewer_key = authority.for_client("viewer", mosquitto.folder / "viewer.crt")
    inbox = subscribe(replace(swift, certificate=viewer, key=viewer_key), "remoteclip/1/#")
    with link_to(swift, outbox):
        inbox.wait_payload(*BIRTH[:2])
        authority.for_client("swift-2", swift.certificate)
        inbox.wait_payload(SWIFT.status, b"offline")


def test_a_broker_that_ends_the_connection_after_the_handshake_has_not_consented(
    mosquitto: Any, authority: Any, swift: BrokerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.for_broker(mosquitto.folder / "certs")
    context.load_cert_chain(mosquitto.folder / "certs/broker.crt", mosquitto.folder / "certs/broker.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            client, _ = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as secure:
                secure.unwrap()  # the other end may not wait for ours

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        address = parse_broker_url(f"mqtts://127.0.0.1:{listener.getsockname()[1]}")
        credentials = Credentials(replace(swift, address=address), 0.0)
        authority.for_client("swift-1", swift.certificate)
        assert [credentials.renewed() for _ in range(3)] == [False] * 3
        thread.join(WAIT)
    (warning,) = warnings(caplog)
    assert "refused by the broker: hangs up" in warning


def test_a_link_that_is_stopped_while_it_changes_its_login_still_says_goodbye(
    operator: Operator, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    link = link_to(operator.settings, outbox)
    stopper = threading.Thread(target=lambda: link.stop(timeout=WAIT))

    class StopThen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "connecting anew" in record.getMessage():
                outbox.put(SWIFT.events, "put meanwhile", kind="alert")
                stopper.start()
                assert until(link._stopping.is_set)

    handler = StopThen()
    logging.getLogger("edge.mqtt.link").addHandler(handler)
    try:
        link.start()
        operator.inbox.wait_payload(*BIRTH[:2])
        operator.password.write_text("secret\nchanged\n")
        operator.inbox.wait_payload(SWIFT.events, b"put meanwhile")
        operator.inbox.wait_payload(SWIFT.status, b"stopped")
    finally:
        logging.getLogger("edge.mqtt.link").removeHandler(handler)
    stopper.join(WAIT)
    assert b"offline" not in operator.statuses()
