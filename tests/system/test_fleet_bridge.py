"""The bridge of docs/fleet.md between a region's broker and the centre's: what it carries, what it leaves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import paho.mqtt.publish as publish

from edge.broker import free_port
from tests.system.waiting import until

ROOT = "remoteclip/1/kestrel-1"


def documented_bridge(repository: Path, port: int) -> list[str]:
    """The lines of the document, for a broker on loopback that asks for no login."""
    text = (repository / "docs" / "fleet.md").read_text(encoding="utf-8")
    block = re.search(r"^    connection north\n(?:    .+\n)+", text, re.MULTILINE)
    assert block is not None
    lines = [line.strip() for line in block[0].splitlines()]
    without = ("address", "bridge_cafile", "remote_username", "remote_password")
    kept = [line for line in lines if not line.startswith(without)]
    assert len(kept) == len(lines) - len(without)
    return [kept[0], f"address 127.0.0.1:{port}", *kept[1:]]


def say(port: int, topic: str, payload: bytes, *, retain: bool = False) -> None:
    """One message of somebody who connects for it."""
    publish.single(topic, payload, 1, retain, "127.0.0.1", port)


def test_the_bridge_carries_what_a_control_room_needs_and_leaves_telemetry(
    mosquitto: Any, subscribe: Any, repository: Path, tmp_path: Path
) -> None:
    region = mosquitto.start()
    (tmp_path / "centre").mkdir()
    centre = type(mosquitto)(mosquitto.program, tmp_path / "centre", free_port())
    centre.extra += documented_bridge(repository, region.port)
    try:
        say(region.port, f"{ROOT}/status", b"retained before", retain=True)
        centre.start()
        room = subscribe(centre.settings, client_id="room")
        drone = subscribe(region.settings)
        room.wait_payload(f"{ROOT}/status", b"retained before")
        say(region.port, f"{ROOT}/counts/boat", b"telemetry", retain=True)
        say(region.port, f"{ROOT}/alerts/a1", b"alert", retain=True)
        say(region.port, f"{ROOT}/events", b"event")
        room.wait_payload(f"{ROOT}/alerts/a1", b"alert")
        room.wait_payload(f"{ROOT}/events", b"event")
        say(centre.port, f"{ROOT}/prompts/set", b"a list")
        drone.wait_payload(f"{ROOT}/prompts/set", b"a list")
        assert f"{ROOT}/counts/boat" not in {topic for topic, _, _ in room.messages}

        centre.stop()  # the region keeps the events of its absence for the bridge
        say(region.port, f"{ROOT}/events", b"meanwhile")
        say(region.port, f"{ROOT}/alerts/a1", b"", retain=True)
        centre.start()
        assert until(lambda: (f"{ROOT}/alerts/a1", b"", False) in room.messages)
        latecomer = subscribe(centre.settings)
        latecomer.wait_payload(f"{ROOT}/status", b"retained before")
        assert f"{ROOT}/alerts/a1" not in {topic for topic, payload, _ in latecomer.messages if payload}
        room.wait_payload(f"{ROOT}/events", b"meanwhile")
    finally:
        centre.stop()
