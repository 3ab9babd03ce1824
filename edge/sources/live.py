"""A camera as a source that never ends: found, read, lost, and found again."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone

from edge.backoff import Backoff
from edge.frames import Frame
from edge.sources.base import FrameSource
from edge.sources.camera import CameraError, CameraOptions, Shot, public_name
from edge.sources.stream_clock import Pace

_log = logging.getLogger(__name__)

_WAKE_S = 0.1
_LEAST_STEP_S = 0.001
"""After a connection is made, pictures that a camera had kept may all come at once."""
_STEADY_S = 5.0
"""A connection that lasts shorter is followed by a pause as long as if it had failed."""
_LOST = "lost on the way"


class LiveSource(FrameSource):
    """Frames of a camera. Where `options.patient`, whatever goes wrong with it is a pause and never an end.

    Frame numbers and capture times go on through a loss: `time_s` is the time that really passed, and the
    numbers of frames that were missed stay unused. Those are counted in `skipped` by the cause of the loss,
    estimated from the interval between frames. Without `patient` the first trouble raises CameraError, a
    SourceError; a stream that its camera ends is an end then.

    A subclass yields pictures from `_shots` and calls `_promise` before whatever may take its time.
    """

    live = True

    def __init__(self, uri: str, options: CameraOptions) -> None:
        super().__init__(public_name(uri))
        self._options = options
        self._stopping = False
        self._alive_until_s = 0.0
        self._backoff = Backoff(first=0.5, longest=10.0)
        self._counted = 0
        self._cause = ""

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        """The camera with every option at its default; always a sequence. Raises SourceError."""
        return cls.from_options(uri, CameraOptions())

    @classmethod
    @abstractmethod
    def from_options(cls, uri: str, options: CameraOptions) -> FrameSource:
        """The camera, not yet connected. Raises SourceError for an address that can never work."""

    @abstractmethod
    def _shots(self) -> Generator[Shot, None, None]:
        """Connects and yields pictures until the camera ends the stream. Raises CameraError."""

    @property
    def waits(self) -> bool:
        """Whether the source is where it should be: reading or pausing, and not longer than it may."""
        return time.monotonic() < self._alive_until_s

    def stop(self) -> None:
        """Ends the iteration: a pause at once, a dead connection after `stall_s` at the latest."""
        self._stopping = True

    def __iter__(self) -> Iterator[Frame]:
        began_s: float | None = None
        last_s, number = 0.0, -1
        pace = Pace()
        for shot in self._all_shots():
            pace.nominal_s = None if self.fps is None else 1.0 / self.fps
            known = self._known_losses()
            missing = max(0, pace.gap(shot.captured_s) - known)
            if missing:
                self._skip(self._cause or _LOST, f"before frame {number + known + missing + 1}", missing)
            self._counted = self.skipped.total()
            self._cause = ""
            if began_s is None:
                began_s, last_s, known, missing = shot.captured_s, shot.captured_s - _LEAST_STEP_S, 0, 0
            number += 1 + known + missing
            captured_s = max(shot.captured_s, last_s + _LEAST_STEP_S)
            last_s = captured_s
            now_s, now = time.monotonic(), datetime.now(timezone.utc)
            yield Frame(
                shot.image,
                number,
                captured_s - began_s,
                # By the clock as it is now, which may have been set since the flight began.
                now - timedelta(seconds=now_s - captured_s),
                time.monotonic_ns(),
                self.name,
                captured_mono_ns=round(captured_s * 1e9),
            )

    def _all_shots(self) -> Iterator[Shot]:
        """The pictures of one connection after another, until `stop`."""
        while not self._ends():
            connected_s: float | None = None
            try:
                with closing(self._shots()) as shots:
                    for shot in shots:
                        if connected_s is None:
                            connected_s = time.monotonic()
                            self._found()
                        yield shot
                        if self._ends():
                            return
                if not self._options.patient:
                    return
                error = CameraError(f"{self.name}: the camera ended the stream", "stream ended")
            except CameraError as lost:
                if not self._options.patient:
                    raise
                error = lost
            if self._ends():
                return
            if connected_s is not None and time.monotonic() - connected_s >= _STEADY_S:
                self._backoff.reset()
            self._lose(error)
            self._pause(self._backoff.next())

    def _ends(self) -> bool:
        return self._stopping

    def _promise(self, seconds: float) -> None:
        """What comes next is done in so many seconds: until then nobody need worry about this thread."""
        self._alive_until_s = time.monotonic() + seconds

    def _found(self) -> None:
        if self.problem:
            _log.info("%s: there it is again", self.name)
        self.problem = ""

    def _lose(self, error: CameraError) -> None:
        problem = str(error)
        # One outage is many failed tries: it is told once, and again when it turns out to be another one.
        if not self._cause:
            self.outages += 1
            self._cause = error.cause
        if problem != self.problem:
            _log.warning("%s; trying again", problem)
        self.problem = problem

    def _pause(self, seconds: float) -> None:
        # Not an Event: `stop` must not take a lock.
        ends_s = time.monotonic() + seconds
        while not self._ends() and (left_s := ends_s - time.monotonic()) > 0:
            self._promise(1.0)
            time.sleep(min(left_s, _WAKE_S))

    def _known_losses(self) -> int:
        return self.skipped.total() - self._counted
