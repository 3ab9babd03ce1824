"""The daemon: wires source, pipeline, alerts, outbox and broker, and owns their threads."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import edge.demo.source  # noqa: F401 - makes `demo` a source that open_source knows
from edge import events
from edge.alerts import AlertMachine, Transition
from edge.broker_settings import BrokerSettings
from edge.bundle import Bundle, load_device_bundle
from edge.capture import Capture
from edge.health import health
from edge.link import MqttLink
from edge.meter import FrameMeter
from edge.outbox import Outbox
from edge.pipeline import FrameResult, Pipeline
from edge.reporter import Reporter
from edge.sources import FrameSource, open_source
from edge.summary import RunSummary, RunTally
from firmware_cfg.device import DeviceFile
from firmware_cfg.messages import Health
from firmware_cfg.prompt_list import LoadedPromptList, load_prompt_list

log = logging.getLogger(__name__)

OUTBOX_NAME = "outbox.db"
SOURCE_PATIENCE_S = 5.0
"""How long the end waits for a thread that is still inside the source."""

OnFrame = Callable[[FrameResult, Sequence[Transition]], None]


class Daemon:
    """One run of a device file. `run` may be called once; `stop` any time, also in a signal handler.

    Args:
        device: the device file, its paths absolute.
        source: an open source instead of the device file's; `run` closes it.
        on_frame: called in the frame loop after every frame with its result and the alert transitions.
        limit_s: stop after this many seconds of capture time.
    """

    def __init__(
        self,
        device: DeviceFile,
        *,
        source: FrameSource | None = None,
        on_frame: OnFrame | None = None,
        limit_s: float | None = None,
    ) -> None:
        self._device = device
        self._source = source
        self._on_frame = on_frame
        self._limit_s = limit_s
        self._capture: Capture | None = None
        self._stop_reason = ""
        self._meter = FrameMeter()

    def stop(self, reason: str) -> None:
        """Ask `run` to end. `reason` becomes part of the status `stopped`; the first one given stays."""
        self._stop_reason = self._stop_reason or reason
        if self._capture is not None:
            self._capture.stop()

    def run(self) -> RunSummary:
        """Fly until the source ends or `stop` is called.

        What can be wrong before the flight is found before the first message is sent. A broker that cannot
        be reached is no error: messages wait in `state_dir`.

        Raises:
            ConfigErrors, UsageError, BundleError, EngineError, SourceError, OutboxError, MissingExtra: it
            cannot start, or cannot go on; active alerts are cleared and the status is `stopped` by then.
        """
        device = self._device
        prompts = load_prompt_list(device.prompts)
        bundle = load_device_bundle(device)
        broker = BrokerSettings.from_config(device.mqtt)
        with ExitStack() as stack:
            outbox = stack.enter_context(Outbox(Path(device.state_dir) / OUTBOX_NAME))
            source = self._source or open_source(device.source.uri, sequence=device.source.sequence)
            stack.callback(self._close, source)
            pipeline = stack.enter_context(_pipeline(device, bundle, prompts, source))
            session = events.Session(
                device=device.device,
                session_id=uuid.uuid4().hex,
                started_at=_now(),
                boot_id=outbox.boot_id,
                bundle_sha256=bundle.manifest_sha256,
                software=_software(),
            )
            _say_who_vouches(device, bundle)
            link = self._link(broker, outbox, session)
            link.start()
            try:
                summary = self._fly(outbox, session, pipeline, source, bundle)
            except BaseException as error:
                self._stop_reason = self._stop_reason or type(error).__name__
                raise
            finally:
                unsent = link.stop()
            return replace(summary, unsent=unsent)

    def _link(self, broker: BrokerSettings, outbox: Outbox, session: events.Session) -> MqttLink:
        def status(state: Literal["online", "stopped", "offline"]) -> bytes:
            reason = self._stop_reason if state == "stopped" else ""
            return events.status(session, state, _now(), reason).to_payload()

        return MqttLink(
            broker,
            outbox,
            device=session.device,
            status=status,
            stamp=lambda message: events.restamp(message.payload, message.created, _now()),
        )

    def _fly(
        self,
        outbox: Outbox,
        session: events.Session,
        pipeline: Pipeline,
        source: FrameSource,
        bundle: Bundle,
    ) -> RunSummary:
        """The frame loop. Whatever ends it, active alerts are cleared and all that was found is written."""
        wanted = self._device.source
        # No source of this version is live, so `auto` never drops.
        capture = Capture(source, realtime=wanted.realtime, drop_oldest=wanted.drop == "oldest")
        machine = AlertMachine(pipeline.bank.prompt_list, thresholds=pipeline.bank.thresholds)
        tally = RunTally()
        flown: set[str] = set()  # precisions; an engine, and what auto is on it, is known at its first frame

        def health_now() -> Health:
            return health(
                session,
                self._meter.read(),
                tally.latest,
                outbox.counts(),
                engine=self._device.engine.name,
                precision=self._device.engine.precision,
                dropped=capture.dropped,
                skipped=source.skipped,
                now=_now(),
            )

        interval = self._device.counts_interval
        reporter = Reporter(outbox, session, counts_interval=interval, health=health_now)
        reporter.start(pipeline.bank)
        self._capture = capture
        if self._stop_reason:  # asked to stop before there was anything to stop
            capture.stop()
        began = time.monotonic()
        try:
            for frame in capture:
                result = pipeline.process(frame)
                if result.precision not in flown:
                    flown.add(result.precision)
                    _say_what_was_lost(bundle, result.precision)
                transitions = machine.update(result.counts, result.tracks, frame.time_s)
                reporter.report(result, transitions)
                self._meter.add((time.monotonic_ns() - frame.mono_ns) / 1e9)
                tally.take(result, transitions)
                if self._on_frame is not None:
                    self._on_frame(result, transitions)
                if self._limit_s is not None and tally.captured_s >= self._limit_s:
                    self.stop(f"{self._limit_s:g} s flown")
            self.stop("end of source")
        finally:
            capture.stop()
            seconds = time.monotonic() - began
            if tally.latest is not None:
                reporter.report(tally.latest, machine.close("stopped"))
            reporter.stop()
        log.info("%d frames in %.1f s; stopped: %s", self._meter.frames, seconds, self._stop_reason)
        return tally.summary(seconds, source.skipped, capture.dropped)

    def _close(self, source: FrameSource) -> None:
        """Close the source, unless its thread is still inside it: that could crash a decoder."""
        if self._capture is None or self._capture.join(SOURCE_PATIENCE_S):
            source.close()
        else:
            log.warning("%s: does not let go; left open", source.name)


def _say_who_vouches(device: DeviceFile, bundle: Bundle) -> None:
    voucher = bundle.voucher
    # Where keys are named, somebody wants signed bundles, even where an unsigned one may still fly.
    doubtful = voucher.ends_soon or (device.trusted_keys and voucher.refusal)
    log.log(logging.WARNING if doubtful else logging.INFO, "%s: %s", bundle.path, voucher.sentence)


def _say_what_was_lost(bundle: Bundle, precision: str) -> None:
    """Warn where the variant that flies failed its accuracy gate, and was let pass by who made the bundle."""
    gate = next((gate for name, gate in bundle.manifest.gates.items() if name == precision), None)
    if gate is not None and not gate.passed:
        lost = "; ".join(gate.problems)
        log.warning(
            "%s: %s failed its accuracy gate and flies all the same: %s", bundle.path, precision, lost
        )


def _pipeline(device: DeviceFile, bundle: Bundle, prompts: LoadedPromptList, source: FrameSource) -> Pipeline:
    engine = device.engine
    return Pipeline(
        bundle,
        prompts,
        engine_name=engine.name,
        precision=engine.precision,
        image_size=engine.image_size,
        threads=engine.threads,
        workspace_mib=engine.workspace_mib,
        independent=source.independent,
    )


def _software() -> str:
    try:
        return version("remoteclip-edge")
    except PackageNotFoundError:
        return "unknown"  # run from a source folder


def _now() -> datetime:
    return datetime.now(timezone.utc)
