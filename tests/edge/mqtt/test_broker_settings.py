"""Where the broker is and how to log in; above all, that no password gets into a message."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from edge.mqtt.settings import BrokerSettings
from firmware_cfg.broker_url import parse_broker_url
from firmware_cfg.device import Mqtt, Tls
from firmware_cfg.errors import BrokerError

SECRET = "tangerine-gearbox"
ADDRESS = parse_broker_url("mqtt://broker.example:1884")


@pytest.mark.parametrize(
    "url",
    [
        f"mqtt://drone:{SECRET}@broker",
        f"mqtt://drone:{SECRET}",
        f"mqtt:/drone:{SECRET}@broker",
        f"{SECRET}",
        f"mqtt://broker/{SECRET}",
        f"mqtt://broker?password={SECRET}",
        "http://broker",
        "mqtt://",
        "mqtt://broker:99999",
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BrokerError, match="broker's URL must") as caught:
        BrokerSettings.from_url(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_settings_of_a_device_file_are_taken_over(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key", "password"):
        (tmp_path / name).write_text(name)
    mqtt = Mqtt(
        url="mqtts://broker.example",
        username="drone",
        password_file=tmp_path / "password",
        tls=Tls(ca=tmp_path / "ca", cert=tmp_path / "cert", key=tmp_path / "key"),
        keepalive=12.4,
    )
    settings = BrokerSettings.from_config(mqtt)
    assert str(settings.address) == "mqtts://broker.example:8883"
    assert (settings.username, settings.password(), settings.keepalive) == ("drone", "password", 12)
    assert (settings.ca, settings.certificate, settings.key) == tuple(
        tmp_path / n for n in ("ca", "cert", "key")
    )


def test_the_password_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BrokerSettings(ADDRESS).password() is None
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\nsecond line\n")
    from_file = BrokerSettings(ADDRESS, username="drone", password_file=path)
    assert from_file.password() == SECRET
    path.write_text("another")
    assert from_file.password() == "another"
    monkeypatch.setenv("BROKER_PASSWORD", SECRET)
    from_environment = BrokerSettings(ADDRESS, username="drone", password_env="BROKER_PASSWORD")
    assert from_environment.password() == SECRET
    assert SECRET not in repr(from_environment) + repr(from_file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, r"No such file or directory \(make it a readable text file\)"),
        (b"\xff\xfe" + SECRET.encode(), r"not UTF-8 text"),
        (b"", "its first line is empty"),
        (b"\n" + SECRET.encode(), "its first line is empty"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokerError, match=f"password_file {path}: {problem}") as caught:
        BrokerSettings(ADDRESS, username="drone", password_file=path).password()
    assert SECRET not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROKER_PASSWORD", raising=False)
    with pytest.raises(BrokerError, match=r"password_env: BROKER_PASSWORD is not set \(export it\)"):
        BrokerSettings(ADDRESS, username="drone", password_env="BROKER_PASSWORD").password()


def test_tls_checks_certificate_and_host_name() -> None:
    assert BrokerSettings(ADDRESS).tls_context() is None
    context = BrokerSettings.from_url("mqtts://broker.example").tls_context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("field", ["ca", "certificate"])
def test_certificate_files_that_cannot_be_used_are_named(tmp_path: Path, field: str) -> None:
    path = tmp_path / "no.pem"
    path.write_text("no certificate")
    settings = BrokerSettings(parse_broker_url("mqtts://broker.example"), **{field: path})
    with pytest.raises(BrokerError, match=f"{path}.*PEM"):
        settings.tls_context()
