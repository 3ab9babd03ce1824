"""The demo's own broker."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest

from edge import broker
from edge.broker import BrokerProcess, find_mosquitto, free_port, start_demo_broker
from firmware_cfg.errors import BrokerError, MissingExtra

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
needs_amqtt = pytest.mark.skipif(importlib.util.find_spec("amqtt") is None, reason="amqtt is not installed")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    "kind", [pytest.param("mosquitto", marks=needs_mosquitto), pytest.param("amqtt", marks=needs_amqtt)]
)
def test_it_listens_on_loopback_until_it_is_stopped(kind: Any) -> None:
    with start_demo_broker(kind=kind) as running:
        address = running.settings.address
        assert (running.name, running.url) == (kind, f"mqtt://127.0.0.1:{address.port}")
        assert listens(address.port)
        assert running.settings.first_version == ("5" if kind == "mosquitto" else "3.1.1")
    assert not listens(address.port)
    running.stop()


@needs_mosquitto
def test_mosquitto_is_preferred_on_the_port_that_was_asked_for() -> None:
    port = free_port()
    with start_demo_broker(port) as running:
        assert (running.name, running.settings.address.port) == ("mosquitto", port)


@needs_mosquitto
def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} is taken"):
            start_demo_broker(port, kind="mosquitto")


def test_a_broker_that_does_not_come_up_is_one_line_with_its_last_words(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo some talk; echo Error: no such option >&2; exit 3"]
    with pytest.raises(BrokerError, match=r"^mosquitto ended with code 3: Error: no such option$"):
        BrokerProcess("mosquitto", command, free_port(), tmp_path / "log")


@needs_amqtt
def test_amqtt_steps_in_where_mosquitto_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "mosquitto"
    broken.write_text("#!/bin/sh\necho Error: Invalid user >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(broker, "find_mosquitto", lambda: str(broken))
    with start_demo_broker() as running:
        assert running.name == "amqtt"
    assert "mosquitto ended with code 1: Error: Invalid user" in caplog.text


def test_without_any_broker_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "find_mosquitto", lambda: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"remoteclip-edge\[demo\]"):
        start_demo_broker()
    with pytest.raises(BrokerError, match="apt install mosquitto"):
        start_demo_broker(kind="mosquitto")
