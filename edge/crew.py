"""What works while it flies, made from what is on board: nothing of it runs yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from edge import events
from edge.alerts.machine import AlertMachine
from edge.alerts.state import resumable
from edge.capture import Capture
from edge.drift import DriftGauge
from edge.health.meter import FrameMeter
from edge.health.systemd import Start, Watchdog
from edge.health.vitals import Vitals
from edge.mqtt.link import MqttLink
from edge.onboard import OnBoard
from edge.reporter import Reporter
from edge.requests.control_room import ControlRoom
from firmware_cfg.device import DeviceFile


@dataclass(frozen=True, slots=True)
class Crew:
    """The parts that frames, alerts and messages pass through, and those that watch them."""

    capture: Capture
    machine: AlertMachine
    meter: FrameMeter
    drift: DriftGauge
    vitals: Vitals
    reporter: Reporter
    room: ControlRoom
    link: MqttLink
    watchdog: Watchdog


def assemble(
    device: DeviceFile, on_board: OnBoard, watchdog: Watchdog, start: Start, stop_reason: Callable[[], str]
) -> Crew:
    """Make the crew of one flight; `stop_reason` is asked when the status `stopped` is told."""
    bank = on_board.pipeline.bank

    def no_frame_yet() -> None:
        reporter.check()
        if not reporter.hangs:
            watchdog.frame_done()
        if on_board.source.problem:
            start.waits()

    capture = _capture(device, on_board, no_frame_yet)
    left = resumable(on_board.outbox.kept_alerts(), device=device.device)
    machine = AlertMachine(bank.prompt_list, thresholds=bank.thresholds, resume=left)
    meter = FrameMeter()

    def fail(error: Exception) -> None:
        reporter.fail(error)

    def tell_again() -> None:
        reporter.tell_again()

    room = ControlRoom(on_board, on_failure=fail)
    link = _link(device, on_board, room, stop_reason, tell_again, fail)
    drift = DriftGauge(on_board.flown.bundle.calibration)
    vitals = Vitals(on_board, device.engine, meter, capture, machine, link, drift)
    reporter = vitals.reporter = Reporter(
        on_board.outbox,
        on_board.session,
        counts_interval=device.counts_interval,
        health=vitals.health,
        evidence=on_board.evidence,
        discovery_prefix=device.home_assistant.prefix if device.home_assistant is not None else None,
    )
    return Crew(capture, machine, meter, drift, vitals, reporter, room, link, watchdog)


def _capture(device: DeviceFile, on_board: OnBoard, on_early: Callable[[], None]) -> Capture:
    return Capture(
        on_board.source,
        realtime=device.source.realtime,
        drop_oldest={"auto": None, "oldest": True, "never": False}[device.source.drop],
        on_early=on_early,
    )


def _link(
    device: DeviceFile,
    on_board: OnBoard,
    room: ControlRoom,
    stop_reason: Callable[[], str],
    on_connect: Callable[[], None],
    on_failure: Callable[[Exception], None],
) -> MqttLink:
    session = on_board.session

    def status(state: Literal["online", "stopped", "offline"]) -> bytes:
        reason = stop_reason() if state == "stopped" else ""
        return events.status(session, state, _now(), reason).to_payload()

    return MqttLink(
        on_board.broker,
        on_board.outbox,
        device=session.device,
        status=status,
        stamp=lambda message: events.stamp(message, _now()),
        on_request=room.hear,
        on_sweep=room.sweep,
        on_connect=on_connect,
        on_failure=on_failure,
        backlog_rate=device.mqtt.backlog_rate,
    )


def _now() -> datetime:
    return datetime.now(timezone.utc)
