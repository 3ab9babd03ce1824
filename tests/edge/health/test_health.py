"""The health message: what the device's own sensors and the process tell."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.events import Session
from edge.health.message import health, resident_mib
from edge.health.meter import Reading
from edge.health.sensors import SensorReading
from edge.outbox.outbox import OutboxCounts
from firmware_cfg.messages import Health

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def test_resident_memory_is_pages_in_mib(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("900 512 3 4 5 6 7\n")
    assert resident_mib(statm) == pytest.approx(512 * os.sysconf("SC_PAGE_SIZE") / 2**20, abs=0.05)


@pytest.mark.parametrize("text", [None, "", "900", "900 many"])
def test_a_system_that_does_not_tell_gives_none(tmp_path: Path, text: str | None) -> None:
    statm = tmp_path / "statm"
    if text is not None:
        statm.write_text(text)
    assert resident_mib(statm) is None


def test_health_carries_what_the_sensors_and_the_alerts_tell() -> None:
    session = Session("drone-1", "s", NOON, "b", "a" * 64, "1.0")
    message = health(
        session,
        Reading(12.5, 0, 0.0, None),
        None,
        OutboxCounts(1, 2, 3, 400, 5, 6),
        engine="openvino",
        precision="auto",
        dropped=0,
        skipped={},
        now=NOON + timedelta(days=365),  # the clock was set meanwhile
        alerts_active=4,
        unwritten=7,
        drift=0.41249,
        sensors=SensorReading({"cpu": 40.0, "gpu": 50.5}, {"VDD_IN": 7.5, "VDD_SOC": 2.0}, throttled=True),
    )
    assert (message.temperature_c, message.power_w, message.throttled) == (50.5, 7.5, True)
    assert (message.alerts_active, message.queued.unwritten, message.queued.shed) == (4, 7, 11)
    assert message.drift == 0.412
    assert (message.frame_age_s, message.uptime_s) == (None, 12.5)
    assert Health.from_payload(message.to_payload()) == message
