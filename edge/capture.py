"""A source read by a thread of its own, paced if asked, into a short queue that the frame loop empties.

Where frames may be dropped there is no queue: the next frame is the newest, however slow the model.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Condition, Thread

from edge.frames import Frame
from edge.sources import FrameSource

QUEUED_FRAMES = 2
"""That are read ahead of the model where none may be dropped ..."""
QUEUED_PIXELS = 1 << 22
"""... and only one of more pixels than this: it takes 12 MiB in 4K (docs/decisions/027)."""
WAKE_S = 0.2
"""Longest wait before `stop` is noticed when its notification could not be given."""


class Capture:
    """The frames, once: by `next`, or by iterating. They end with the source, or after `stop`.

    Args:
        source: read from the first frame asked for on; not closed here.
        realtime: hand the frames of a recording out no faster than they were captured.
        drop_oldest: forget a frame that was not asked for when the next one comes, instead of holding the
            source up. `dropped` counts those frames. None: only if the source is live.
        on_early: called again and again, in the thread that waits for a frame, while there is none and
            nothing is wrong with that: the next one is not yet due, or a camera is waited for. Must not wait.
            What it raises is raised there.
        clock: seconds that pass, for the pacing.

    Attributes:
        dropped: how many frames were left out.

    What the source raises is raised where a frame is waited for, after the frames that came before.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        realtime: bool = False,
        drop_oldest: bool | None = None,
        on_early: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self._source = source
        self._realtime = realtime and not source.live
        self._drops = source.live if drop_oldest is None else drop_oldest
        self._on_early = on_early
        self._clock = clock
        self._early = False
        self._frames: deque[Frame] = deque()
        self._failure: BaseException | None = None
        self._ended = False
        self._stopping = False
        self._changed = Condition()
        self._thread = Thread(target=self._read, name="capture", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.next()) is not None:
            yield frame

    def next(self, *, wait: bool = True) -> Frame | None:
        """The next frame; None after the last one or after `stop`, and, where nobody waits, if none is there.

        Always asked by one and the same thread.
        """
        if self._thread.ident is None:
            self._thread.start()
        with self._changed:
            while wait and not self._frames and not self._ended and not self._stopping:
                self._changed.wait(WAKE_S)
                if self._early or self._source.waits:
                    self._on_early()
            if self._stopping:
                return None
            if self._frames:
                frame = self._frames.popleft()
                self._changed.notify_all()
                return frame
        if wait and self._failure is not None:
            raise self._failure
        return None

    def stop(self) -> None:
        """End the iteration; frames that wait are forgotten. From any thread, also in a signal handler."""
        self._stopping = True  # without the lock: a signal may arrive while its own thread holds it
        self._source.stop()
        if self._changed.acquire(blocking=False):
            self._changed.notify_all()
            self._changed.release()

    def join(self, timeout: float) -> bool:
        """Wait for the thread, so that the source can be closed; False when it is still inside the source."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _read(self) -> None:
        try:
            began = None
            for frame in self._timed():
                if self._realtime:
                    began = self._clock() - frame.time_s if began is None else began
                    self._wait_until(began + frame.time_s)
                    # Played back at its own speed, a frame is captured when it is handed out.
                    frame = replace(frame, mono_ns=time.monotonic_ns())
                if not self._put(frame):
                    break
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that iterates
            self._failure = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _timed(self) -> Iterator[Frame]:
        """The source's frames, with what each cost this thread: waiting for a camera is not counted."""
        frames = iter(self._source)
        while True:
            began = time.thread_time()
            frame = next(frames, None)
            if frame is None:
                return
            yield replace(frame, read_s=time.thread_time() - began)

    def _wait_until(self, moment: float) -> None:
        with self._changed:
            while not self._stopping and (left := moment - self._clock()) > 0:
                self._early = True
                self._changed.wait(min(left, WAKE_S))
            self._early = False

    def _put(self, frame: Frame) -> bool:
        large = frame.width * frame.height > QUEUED_PIXELS
        room = 1 if self._drops or large else QUEUED_FRAMES
        with self._changed:
            if self._drops and self._frames:
                self._frames.popleft()
                self.dropped += 1
            while len(self._frames) >= room and not self._stopping:
                self._changed.wait(WAKE_S)
            if self._stopping:
                return False
            self._frames.append(frame)
            self._changed.notify_all()
            return True
