"""How a flight is doing at any moment, told to whoever asks: MQTT, health.json and Prometheus."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge.alerts.machine import AlertMachine
from edge.capture import Capture
from edge.drift import DriftGauge
from edge.health.message import health
from edge.health.meter import FrameMeter
from edge.health.sensors import read_sensors
from edge.mqtt.link import MqttLink
from edge.onboard import OnBoard
from edge.outbox.file import OutboxDamagedError
from edge.outbox.outbox import OutboxCounts
from edge.reporter import Reporter
from firmware_cfg.device import Engine
from firmware_cfg.errors import OutboxError
from firmware_cfg.messages import Health

if TYPE_CHECKING:
    from edge.health.metrics import MetricSources

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Vitals:
    """The parts of a flight that have something to tell. `engine` is what the device file asks for."""

    on_board: OnBoard
    engine: Engine
    meter: FrameMeter
    capture: Capture
    machine: AlertMachine
    link: MqttLink
    drift: DriftGauge | None = None  # whoever has the frames feeds it
    reporter: Reporter | None = None  # it asks for health itself, so it is made later
    _queued: OutboxCounts = field(default=OutboxCounts(0, 0, 0, 0, 0, 0), init=False)
    _readable: bool = field(default=True, init=False)

    def health(self) -> Health:
        """The health message of this moment; the file on disk says the same. Belongs to one thread.

        Raises OutboxDamagedError. Where the outbox cannot be read otherwise, what was queued before is told.
        """
        now = health(
            self.on_board.session,
            self.meter.read(),
            self.meter.totals().latest,
            self._count_queued(),
            engine=self.engine.name,
            precision=self.engine.precision,
            dropped=self.capture.dropped,
            skipped=self.on_board.source.skipped,
            camera_outages=self.on_board.source.outages,
            camera_problem=self.on_board.source.problem,
            now=datetime.now(timezone.utc),
            alerts_active=len(self.machine.active),
            unwritten=self._unwritten(),
            sensors=read_sensors(),
            drift=self._drift(),
            telemetry_refused=self.on_board.whereabouts.refused(),
        )
        self.on_board.health_file.write(
            "running", health=now, link=self.link.state, link_problem=self.link.problem
        )
        return now

    def metric_sources(self) -> MetricSources:
        """Where Prometheus' numbers come from."""
        from edge.health.metrics import (
            MetricSources,  # its library is slow to load, and not everybody wants it
        )

        updater = self.on_board.updater
        return MetricSources(
            session=self.on_board.session,
            meter=self.meter,
            outbox=self.on_board.outbox,
            link_state=lambda: self.link.state,
            dropped=lambda: self.capture.dropped,
            skipped=lambda: self.on_board.source.skipped,
            camera_outages=lambda: self.on_board.source.outages,
            telemetry_refused=lambda: self.on_board.whereabouts.refused(),
            alerts_active=lambda: len(self.machine.active),
            unwritten=self._unwritten,
            prompt_lists=lambda: {"applied": updater.applied, "refused": updater.refused},
            evidence=self.on_board.evidence,
            drift=self._drift,
        )

    def _count_queued(self) -> OutboxCounts:
        try:
            self._queued = self.on_board.outbox.counts()
        except OutboxError as error:
            if isinstance(error, OutboxDamagedError):
                raise
            if self._readable:
                log.warning("%s; health tells what was queued before", error)
            self._readable = False
        else:
            self._readable = True
        return self._queued

    def _drift(self) -> float | None:
        return None if self.drift is None else self.drift.value

    def _unwritten(self) -> int:
        return 0 if self.reporter is None else self.reporter.waiting
