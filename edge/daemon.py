"""The daemon: wires the parts of a flight, and owns their threads from start to stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.alerts.machine import Transition
from edge.bundle.load import Bundle
from edge.capture import Capture
from edge.crew import Crew, assemble
from edge.flight import Flight, OnFrame
from edge.health.systemd import Notifier, Start, Watchdog, more_time
from edge.health.vitals import Vitals
from edge.memory import keep_few_arenas
from edge.onboard import OnBoard, open_on_board
from edge.pipeline import FrameResult
from edge.prompts.updates import PromptUpdater
from edge.sources import FrameSource
from edge.summary import RunSummary
from firmware_cfg.device import DeviceFile, Metrics

if TYPE_CHECKING:
    from edge.health.metrics_server import MetricsServer

log = logging.getLogger(__name__)

SOURCE_PATIENCE_S = 5.0
"""How long the end waits for a thread that is still inside the source."""
START_LIMIT_S = 300.0
"""How long systemd is asked to wait for the first frame, and for the first one of another size."""
BUILD_LIMIT_S = 3600.0
"""The same where an engine may have to be built first: TensorRT takes many minutes for that."""
STOP_LIMIT_S = 60.0


class Daemon:
    """One run of a device file. `run` may be called once; `stop`, `reload` any time, also in signal handlers.

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
        self._flight: Flight | None = None
        self._updater: PromptUpdater | None = None
        self._stop_reason = ""

    def stop(self, reason: str) -> None:
        """Ask `run` to end. `reason` becomes part of the status `stopped`; the first one given stays."""
        self._stop_reason = self._stop_reason or reason
        if self._flight is not None:
            self._flight.stop(reason)

    def reload(self) -> None:
        """Take the device file's prompt list again, changed or not."""
        if self._updater is not None:
            self._updater.reload()

    def run(self) -> RunSummary:
        """Fly until the source ends or `stop` is called.

        What can be wrong before the flight is found before the first message is sent. A broker that cannot
        be reached is no error: messages wait in `state_dir`.

        Raises:
            ConfigErrors, UsageError, BundleError, EngineError, SourceError, OutboxError, MissingExtra: it
            cannot start, or cannot go on; active alerts are cleared and the status is `stopped` by then.
        """
        keep_few_arenas()
        with ExitStack() as stack:
            notifier = stack.enter_context(Notifier())
            starting = stack.enter_context(ExitStack())
            builds = self._device.engine.name.endswith("tensorrt")
            limit_s = BUILD_LIMIT_S if builds else START_LIMIT_S
            starting.enter_context(more_time(notifier, limit_s))
            on_board = open_on_board(
                self._device, self._source, stack, self._close, lambda: self._stop_reason
            )
            self._updater = stack.enter_context(on_board.updater)
            flying = "flying, a new bundle is on trial" if on_board.flown.on_trial else "flying"
            start = Start(notifier, starting, flying, limit_s)
            crew = assemble(self._device, on_board, Watchdog(notifier), start, lambda: self._stop_reason)
            self._capture = crew.capture
            stack.enter_context(crew.room)
            try:
                summary = self._fly(on_board, crew, start)
            except BaseException as error:
                self._stop_reason = self._stop_reason or type(error).__name__
                raise
            finally:
                notifier.stopping(self._stop_reason)
                with more_time(notifier, STOP_LIMIT_S):
                    unsent = crew.link.stop()
            return replace(summary, unsent=unsent)

    def _fly(self, on_board: OnBoard, crew: Crew, start: Start) -> RunSummary:
        """From the first frame to the last."""
        metrics, machine, reporter = self._device.metrics, crew.machine, crew.reporter
        told: set[str] = set()  # precisions: what auto stands for may differ between sizes of frames

        def on_frame(result: FrameResult, transitions: Sequence[Transition]) -> None:
            crew.meter.take(result, transitions)
            start.flies()
            crew.room.see(result.frame.image)
            if result.scores.embedding is not None:
                crew.drift.take(result.scores.embedding)
            if on_board.recorder is not None:
                on_board.recorder.add(result)
            if not reporter.hangs:  # frames alone are no flight: what they find has to get to the disk
                crew.watchdog.frame_done()
            on_board.flown.frame_done()
            if result.precision not in told:
                told.add(result.precision)
                _say_what_was_lost(on_board.flown.bundle, result.precision)
            if self._on_frame is not None:
                self._on_frame(result, transitions)

        flight = Flight(
            crew.capture,
            on_board.source,
            on_board.whereabouts,
            on_board.pipeline,
            machine,
            reporter,
            on_frame=on_frame,
            loading=start.loading,
            limit_s=self._limit_s,
        )
        with nullcontext() if metrics is None else _metrics(metrics, crew.vitals):
            crew.link.start()
            reporter.start(on_board.pipeline.bank, [alert.alert_id for alert in machine.active])
            self._flight = flight
            if self._stop_reason:  # asked to stop before there was anything to stop
                flight.stop(self._stop_reason)
            try:
                return flight.run()
            finally:
                self._stop_reason = self._stop_reason or flight.stop_reason

    def _close(self, source: FrameSource) -> None:
        """Close the source, unless its thread is still inside it: that could crash a decoder."""
        if self._capture is None or self._capture.join(SOURCE_PATIENCE_S):
            source.close()
        else:
            log.warning("%s: does not let go; left open", source.name)


def _metrics(wanted: Metrics, vitals: Vitals) -> MetricsServer:
    # Whoever asks for no metrics does not wait for their library.
    from edge.health.metrics import metrics_registry
    from edge.health.metrics_server import MetricsServer

    return MetricsServer(wanted.address, wanted.port, metrics_registry(vitals.metric_sources()))


def _say_what_was_lost(bundle: Bundle, precision: str) -> None:
    """Warn where the variant that flies failed its accuracy gate, and was let pass by who made the bundle."""
    gate = next((gate for name, gate in bundle.manifest.gates.items() if name == precision), None)
    if gate is not None and not gate.passed:
        lost = "; ".join(gate.problems)
        log.warning(
            "%s: %s failed its accuracy gate and flies all the same: %s", bundle.path, precision, lost
        )
