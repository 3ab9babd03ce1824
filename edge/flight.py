"""The frame loop: frames through the pipeline into alerts, and what they bring into the outbox.

Two frames are on their way. While the engine works on the newer one, the frame before is looked up and
followed, and what it brings is written. Where no newer frame is there by the time that the engine is through,
nothing is held back: the frame is finished at once.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from edge.alerts.machine import AlertMachine, Transition
from edge.capture import Capture
from edge.pipeline import FrameResult, InFlight, Pipeline
from edge.reporter import Reporter
from edge.sources import FrameSource
from edge.summary import RunSummary, RunTally
from edge.whereabouts import Whereabouts

log = logging.getLogger(__name__)

OnFrame = Callable[[FrameResult, Sequence[Transition]], None]


class Flight:
    """From the first frame to the last. `run` may be called once, `stop` any time, also in a signal handler.

    Args:
        capture: the frames.
        source: what `capture` reads, for its count of unreadable frames.
        whereabouts: tells where they were taken.
        pipeline: what looks at them; its prompt list may be replaced while it flies.
        machine: the alerts, made for the list that the pipeline has now.
        reporter: started already; stopped here.
        on_frame: called in the frame loop after every frame.
        loading: entered while an engine is loaded, or built, for the first frame of another size.
        limit_s: stop after this many seconds of capture time.
    """

    def __init__(
        self,
        capture: Capture,
        source: FrameSource,
        whereabouts: Whereabouts,
        pipeline: Pipeline,
        machine: AlertMachine,
        reporter: Reporter,
        *,
        on_frame: OnFrame,
        loading: Callable[[], AbstractContextManager[None]] = nullcontext,
        limit_s: float | None = None,
    ) -> None:
        self.tally = RunTally()
        self.stop_reason = ""
        self._capture = capture
        self._source = source
        self._whereabouts = whereabouts
        self._pipeline = pipeline
        self._machine = machine
        self._reporter = reporter
        self._on_frame = on_frame
        self._loading = loading
        self._limit_s = limit_s
        self._bank = pipeline.bank
        self._first_s: float | None = None

    def stop(self, reason: str) -> None:
        """Ask `run` to end. The first reason given stays."""
        self.stop_reason = self.stop_reason or reason
        self._capture.stop()

    def run(self) -> RunSummary:
        """Fly until the source ends or `stop` is called; what the engine has by then still counts.

        Whatever ends it, active alerts are cleared and all that was found is written.

        Raises:
            SourceError, EngineError, MissingExtra: it cannot go on. OutboxError: the end cannot be written.
        """
        began = time.monotonic()
        try:
            self._fly()
            self.stop("end of source")
        finally:
            self._capture.stop()
            seconds = time.monotonic() - began
            try:
                if self.tally.latest is not None:
                    self._reporter.report(self.tally.latest, self._machine.close("stopped"))
            finally:
                self._reporter.stop()
        log.info("%d frames in %.1f s; stopped: %s", self.tally.frames, seconds, self.stop_reason)
        return self.tally.summary(seconds, self._source.skipped, self._capture.dropped)

    def _fly(self) -> None:
        flying: deque[InFlight] = deque()
        while not self.stop_reason:
            if not flying:
                self._begin(flying)
            if not flying:
                return  # the source has ended
            # The next frame is taken when the engine is free for it: then a camera's is the newest. To queue
            # it earlier costs a frame of latency and gains nothing (docs/decisions/018).
            self._pipeline.wait(flying[0])
            self._begin(flying)
            self._finish(flying.popleft())
        self._finish_all(flying)

    def _begin(self, flying: deque[InFlight]) -> None:
        """Give the engine the next frame, if one may come and is there; where nothing flies, wait for it."""
        if len(flying) == self._pipeline.most_in_flight:
            return
        frame = self._capture.next(wait=not flying)
        if frame is None:
            return
        try:
            frame = self._whereabouts.attach(frame)
            if self._pipeline.is_ready_for(frame):
                flying.append(self._pipeline.begin(frame))
            else:
                self._finish_all(flying)  # their results do not wait for an engine to be loaded
                with self._loading():
                    flying.append(self._pipeline.begin(frame))
        except BaseException:
            self._finish_all(flying)
            raise
        self._first_s = frame.time_s if self._first_s is None else self._first_s
        if self._limit_s is not None and frame.time_s - self._first_s >= self._limit_s:
            self.stop(f"{self._limit_s:g} s flown")

    def _finish_all(self, flying: deque[InFlight]) -> None:
        while flying:
            self._finish(flying.popleft())

    def _finish(self, flying: InFlight) -> None:
        result = self._pipeline.finish(flying)
        began = time.perf_counter()
        ended = self._change_over(result) if result.bank is not self._bank else []
        transitions = self._machine.update(result.counts, result.tracks, result.frame.time_s, result.ground)
        self._reporter.report(result, transitions)
        publish = time.perf_counter() - began
        result = replace(result, seconds=replace(result.seconds, publish=publish))
        self.tally.take(result, transitions)
        self._on_frame(result, [*ended, *transitions])

    def _change_over(self, result: FrameResult) -> list[Transition]:
        """Another prompt list is in use from this frame on: end the alerts that it has no rule for."""
        ended = self._machine.adopt(result.bank.prompt_list, result.bank.thresholds)
        # What ends is told in the words, and with the frame, of the list that it belongs to.
        before = self.tally.latest or replace(
            result, bank=self._bank, counts=replace(result.counts, prompts={})
        )
        self._reporter.report(before, ended)
        self._bank = result.bank
        return ended
