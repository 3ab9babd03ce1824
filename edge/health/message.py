"""How the device is doing, as the message that says so."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from edge.clock import clock_is_synced
from edge.events import Session
from edge.health.meter import Reading
from edge.health.sensors import SensorReading
from edge.native import LETTERBOX
from edge.outbox.outbox import OutboxCounts
from edge.pipeline import FrameResult
from firmware_cfg.messages import Health, Queued

_STATM = Path("/proc/self/statm")


def health(
    session: Session,
    reading: Reading,
    latest: FrameResult | None,
    queued: OutboxCounts,
    *,
    engine: str,
    precision: str,
    dropped: int,
    skipped: Mapping[str, int],
    now: datetime,
    alerts_active: int = 0,
    unwritten: int = 0,
    sensors: SensorReading | None = None,
    drift: float | None = None,
    telemetry_refused: Mapping[str, int] | None = None,
    camera_outages: int = 0,
    camera_problem: str = "",
) -> Health:
    """The health message of this moment.

    Args:
        latest: the newest frame's result; before the first one `engine` and `precision` are those asked for.
        alerts_active: alerts that are raised and not cleared.
        unwritten: steps of alerts that the outbox could not take yet.
        sensors: of the device, see `read_sensors`.
        drift: the gauge's value, see `edge.drift`.
        telemetry_refused: by cause, see `Whereabouts.refused`.
        camera_outages, camera_problem: see `FrameSource`.
    """
    sensors = sensors or SensorReading()
    return Health(
        device=session.device,
        sent_at=now,
        uptime_s=reading.uptime_s,
        frames=reading.frames,
        fps=reading.fps,
        latency_ms=reading.latency_ms,
        frame_age_s=None if latest is None else frame_age_s(latest),
        dropped=dropped,
        skipped=dict(skipped),
        camera_outages=camera_outages,
        camera_problem=camera_problem or None,
        telemetry_refused=dict(telemetry_refused or {}),
        unplaced=0 if latest is None else latest.counts.unplaced,
        drift=None if drift is None else round(drift, 3),
        alerts_active=alerts_active,
        queued=Queued(
            alert=queued.alert,
            update=queued.update,
            telemetry=queued.telemetry,
            bytes=queued.bytes,
            shed=queued.shed_update + queued.shed_telemetry,
            unwritten=unwritten,
        ),
        engine=engine if latest is None else latest.engine,
        precision=precision if latest is None else latest.precision,
        image_size=None if latest is None else latest.image_size,
        bundle_sha256=session.bundle_sha256,
        native=LETTERBOX is not None,
        clock_synced=clock_is_synced(),
        temperature_c=sensors.hottest_c,
        power_w=sensors.total_power_w,
        throttled=sensors.throttled,
        memory_mib=resident_mib(),
    )


def frame_age_s(latest: FrameResult) -> float:
    """Seconds since the newest frame came out of its source."""
    return max(0.0, round((time.monotonic_ns() - latest.frame.mono_ns) / 1e9, 3))


def resident_mib(statm: Path = _STATM) -> float | None:
    """Memory that this process really uses, in MiB; None where the system does not tell."""
    try:
        pages = int(statm.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
