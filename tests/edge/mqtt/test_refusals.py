"""Why a connection was not made: the lines, and which of them another version of MQTT may cure."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from edge.mqtt.refusals import VersionError, refused, unreachable
from edge.mqtt.settings import BrokerSettings
from firmware_cfg.broker_url import parse_broker_url

PLAIN = BrokerSettings(parse_broker_url("mqtt://broker.example"))
TLS = replace(PLAIN, address=parse_broker_url("mqtts://broker.example"))


def untrusted(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("settings", "error", "line"),
    [
        (PLAIN, TimeoutError("timed out"), "no answer in time (is the broker up"),
        (PLAIN, ConnectionRefusedError(111, "Connection refused"), "connection refused (is the broker up"),
        (PLAIN, OSError("something else"), "something else (is the broker up"),
        (
            TLS,
            ConnectionResetError(104, "Connection reset by peer"),
            "(does the broker speak TLS on this port?)",
        ),
        (
            TLS,
            untrusted("certificate has expired"),
            "expired (renew it at the broker, or mend this device's clock)",
        ),
        (
            TLS,
            untrusted("certificate is not yet valid"),
            "(renew it at the broker, or mend this device's clock)",
        ),
        (TLS, untrusted("self-signed certificate"), "self-signed certificate (name the authority"),
        (
            TLS,
            untrusted("IP address mismatch, certificate is not valid for '127.0.0.1'"),
            "for '127.0.0.1' (reach the broker by a name that is in its certificate)",
        ),
        (
            TLS,
            untrusted("Hostname mismatch, certificate is not valid for 'b'"),
            "for 'b' (reach the broker by",
        ),
    ],
)
def test_each_failure_of_the_network_or_of_trust_names_its_mend(
    settings: BrokerSettings, error: OSError, line: str
) -> None:
    problem = unreachable(settings, error)
    assert line in str(problem)
    assert str(settings.address) in str(problem)
    assert not isinstance(problem, VersionError)


def reason(settings: BrokerSettings = PLAIN, **facts: object) -> Exception:
    said = {"answered": True, "reason": None, "tls_alert": None} | facts
    return refused(settings, **said)  # type: ignore[arg-type]


def test_silence_and_a_hang_up_are_tried_in_the_other_version() -> None:
    silence, hang_up = reason(answered=False), reason()
    assert isinstance(silence, VersionError)
    assert isinstance(hang_up, VersionError)
    assert (silence.silence, hang_up.silence) == (True, False)
    refusal = reason(reason="Unsupported protocol version")
    assert isinstance(refusal, VersionError)
    assert refusal.lasting
    assert not silence.lasting
    assert not hang_up.lasting
    assert "use mqtts://" in str(hang_up)
    assert "mqtts://)" not in str(reason(TLS))


def test_a_login_that_is_refused_is_named_by_what_it_consists_of() -> None:
    named = replace(PLAIN, username="drone", password_env="SECRET")
    certified = replace(TLS, certificate=Path("/etc/drone.pem"))
    assert "'drone'" in str(reason(named, reason="Bad user name or password"))
    assert "tls.cert /etc/drone.pem" in str(reason(certified, reason="Not authorized"))
    assert "a login without user name" in str(reason(PLAIN, reason="Not authorized"))
    assert "Server busy" in str(reason(PLAIN, reason="Server busy"))


def test_an_alert_of_tls_is_about_certificates_and_no_matter_of_versions() -> None:
    missing = reason(TLS, tls_alert="TLSV13_ALERT_CERTIFICATE_REQUIRED")
    disliked = reason(replace(TLS, certificate=Path("/no/such.pem")), tls_alert="TLSV1_ALERT_UNKNOWN_CA")
    assert "the broker wants a certificate: certificate required (name tls.cert" in str(missing)
    assert "tls.cert /no/such.pem: refused by the broker: unknown ca" in str(disliked)
    assert not isinstance(missing, VersionError)
    assert isinstance(reason(TLS, tls_alert="UNEXPECTED_EOF_WHILE_READING"), VersionError)
