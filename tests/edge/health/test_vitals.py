"""Health of a flight whose outbox does not answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.events import Session
from edge.health.file import HealthFile
from edge.health.meter import FrameMeter
from edge.health.vitals import Vitals
from edge.outbox.file import OutboxDamagedError
from edge.outbox.outbox import Outbox
from edge.whereabouts import Whereabouts

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as box:
        yield box


@pytest.fixture
def vitals(tmp_path: Path, outbox: Outbox) -> Vitals:
    on_board: Any = SimpleNamespace(
        session=Session("drone-1", "s", NOON, "b", "a" * 64, "1.0"),
        outbox=outbox,
        source=SimpleNamespace(skipped={}, outages=0, problem=""),
        whereabouts=Whereabouts(None, None),
        updater=SimpleNamespace(applied=0, refused=0),
        evidence=None,
        health_file=HealthFile(tmp_path),
    )
    engine: Any = SimpleNamespace(name="openvino", precision="auto")
    capture: Any = SimpleNamespace(dropped=0)
    machine: Any = SimpleNamespace(active=())
    link: Any = SimpleNamespace(state="offline", problem="")
    return Vitals(on_board, engine, FrameMeter(), capture, machine, link)


def test_an_outbox_that_cannot_be_read_costs_no_health(
    vitals: Vitals, outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox.put("t", b"x", kind="alert")
    assert vitals.health().queued.alert == 1
    (tmp_path / "health.json").unlink()
    outbox._file.run("ALTER TABLE messages RENAME TO away")
    with caplog.at_level(logging.WARNING):
        assert [vitals.health().queued.alert for _ in range(3)] == [1, 1, 1]
    assert caplog.text.count("what was queued before") == 1
    assert json.loads((tmp_path / "health.json").read_bytes())["health"]["queued"]["alert"] == 1
    outbox._file.run("ALTER TABLE away RENAME TO messages")
    outbox.put("t", b"x", kind="alert")
    assert vitals.health().queued.alert == 2


def test_a_damaged_outbox_is_for_the_flight_to_hear(vitals: Vitals, outbox: Outbox) -> None:
    for _ in range(100):
        outbox.put("t", b"x", kind="alert")
    outbox._file.all("PRAGMA wal_checkpoint(TRUNCATE)")
    with outbox.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (outbox.path.stat().st_size - 4096))
    outbox._file.run("PRAGMA shrink_memory")
    with pytest.raises(OutboxDamagedError, match="restart"):
        vitals.health()


def test_prometheus_hears_of_refused_telemetry(vitals: Vitals) -> None:
    telemetry: Any = SimpleNamespace(refused={"jump": 2})
    on_board: Any = vitals.on_board
    on_board.whereabouts = Whereabouts(None, telemetry)
    assert vitals.metric_sources().telemetry_refused() == {"jump": 2}
