"""Our daemon, whole: decoder, frame loop, tracks, alerts, outbox and MQTT to a broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from compile.bench.contenders.base import Samples
from compile.bench.spec import FLAT_OUT, PACED, TURN, Setting
from edge.alerts.machine import Transition
from edge.broker import free_port
from edge.daemon import Daemon
from edge.frames import Frame
from edge.pipeline import FrameResult, StageSeconds
from edge.sources import FrameSource, open_source
from firmware_cfg.device import DeviceFile, Engine, Mqtt, Source
from firmware_cfg.errors import RemoteclipError

PATIENCE_S = 120.0
FILL = 8
"""Untimed frames at both ends of a burst: the queue behind the decoder fills, and runs empty."""
RATE = 10.0
"""Frames per second of the task PACED: what a drone's camera may be set to."""


class GatedClip(FrameSource):
    """A clip without end whose frames are let through by `release`.

    A frame is captured when it is due, before it is decoded: what is measured from there holds the decoder.
    """

    def __init__(self, clip: str) -> None:
        inner = open_source(clip)
        super().__init__(inner.name)
        self.fps = inner.fps
        self._inner = inner
        self._allowed = threading.Semaphore(0)
        self._period_s = 0.0
        self._due = 0.0
        self._stopped = False

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        """See FrameSource; needed by nobody."""
        return cls(uri)

    @property
    def waits(self) -> bool:
        """See FrameSource."""
        return True

    def release(self, frames: int, rate: float | None = None) -> None:
        """Let so many more frames through: at once, or so many per second."""
        self._period_s = 0.0 if rate is None else 1.0 / rate
        self._due = time.monotonic()
        for _ in range(frames):
            self._allowed.release()

    def stop(self) -> None:
        """See FrameSource."""
        self._stopped = True
        self._allowed.release()

    def close(self) -> None:
        """See FrameSource."""
        self._inner.close()

    def __iter__(self) -> Iterator[Frame]:
        step_s = 1.0 / (self.fps or 25.0)
        inner: Iterator[Frame] = iter(())
        number, first = 0, None
        while self._wait():
            # When it was due, not when its turn came: a slow frame delays those behind it, which counts.
            due = int(self._due * 1e9) if self._period_s else time.monotonic_ns()
            frame = next(inner, None)
            if frame is None:
                inner = iter(self._inner)
                frame = next(inner)
            first = frame if first is None else first
            time_s = number * step_s
            captured = first.captured_at + timedelta(seconds=time_s)
            yield replace(frame, number=number, time_s=time_s, captured_at=captured, mono_ns=due)
            number += 1

    def _wait(self) -> bool:
        self._allowed.acquire()
        if self._period_s:
            self._due += self._period_s
            time.sleep(max(0.0, self._due - time.monotonic()))
        return not self._stopped


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of a result; the frame itself would count as the daemon's memory."""

    at_s: float
    latency_s: float
    stages: StageSeconds


class DaemonContender:
    """A flight that goes on for as long as this object lives.

    A burst gives `frame`, the time from one result to the next, `latency`, from when a frame was due to its
    result, and the pipeline's stages as it times them itself.
    """

    def __init__(self, setting: Setting, precision: str) -> None:
        """Fly, and wait for the first result. Raises whatever keeps the daemon from flying."""
        self._source = GatedClip(setting.clip)
        self._changed = threading.Condition()
        self._results: list[_Seen] = []
        self._failure: BaseException | None = None
        device = DeviceFile(
            device=f"bench-{precision}",
            source=Source(uri=setting.clip),
            prompts=Path(setting.prompts),
            bundle=setting.bundle,
            engine=Engine(precision=precision, image_size=setting.image_size),
            mqtt=Mqtt(url=setting.broker or f"mqtt://127.0.0.1:{free_port()}"),
            state_dir=Path(setting.work) / f"state-{precision}",
        )
        self._daemon = Daemon(device, source=self._source, on_frame=self._take)
        self._thread = threading.Thread(target=self._fly, name="daemon")
        self._thread.start()
        self._source.release(1)
        self._results_of(1)

    def burst(self, task: str, frames: int) -> Samples:
        """See Contender."""
        if task == PACED:
            return self._paced(frames)
        if task != FLAT_OUT:
            raise ValueError(f"the daemon has no task {task!r}")
        with self._changed:
            self._results.clear()
        self._source.release(frames + 2 * FILL)
        # Processor time over what is timed, not over the ends.
        self._results_of(FILL)
        used = time.process_time()
        self._results_of(FILL + frames)
        used = time.process_time() - used
        results = self._results_of(frames + 2 * FILL)
        timed = results[FILL : FILL + frames]
        stamps = [seen.at_s for seen in results[FILL - 1 : FILL + frames]]
        samples: Samples = {
            "frame": [after - before for before, after in pairwise(stamps)],
            TURN: [(stamps[-1] - stamps[0]) / frames],
            "cpu": [used / frames],
        }
        for field in fields(StageSeconds):
            samples[f"stage {field.name}"] = [getattr(seen.stages, field.name) for seen in timed]
        return samples

    def close(self) -> None:
        """See Contender."""
        self._daemon.stop("benchmark over")
        self._thread.join(PATIENCE_S)

    def _paced(self, frames: int) -> Samples:
        with self._changed:
            self._results.clear()
        used = time.process_time()
        self._source.release(1 + frames, RATE)
        results = self._results_of(1 + frames)[1:]
        used = time.process_time() - used
        return {"frame": [seen.latency_s for seen in results], "cpu": [used / (1 + frames)]}

    def _results_of(self, count: int) -> list[_Seen]:
        """Wait for so many results since the burst began. Raises what ended the flight, RemoteclipError."""
        with self._changed:
            enough = self._changed.wait_for(
                lambda: len(self._results) >= count or self._failure is not None, PATIENCE_S
            )
            if self._failure is not None:
                raise self._failure
            if not enough:
                raise RemoteclipError(f"the daemon delivered {len(self._results)} of {count} frames")
            return self._results[:count]

    def _take(self, result: FrameResult, transitions: Sequence[Transition]) -> None:
        now = time.monotonic()
        seen = _Seen(now, now - result.frame.mono_ns / 1e9, result.seconds)
        with self._changed:
            self._results.append(seen)
            self._changed.notify_all()

    def _fly(self) -> None:
        try:
            self._daemon.run()
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits for results
            with self._changed:
                self._failure = error
                self._changed.notify_all()
