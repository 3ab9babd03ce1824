"""Whatever GStreamer can read: `gstreamer:PIPELINE`, for cameras and decoders that FFmpeg does not know."""

from __future__ import annotations

import shlex
import time
from collections.abc import Generator, Sequence

from edge.sources.camera import CameraError, CameraOptions, Shot
from edge.sources.camera_errors import frozen
from edge.sources.gst_process import Frozen, GstProcess, check_elements, elements
from edge.sources.live import LiveSource
from edge.sources.stream_clock import StreamClock
from firmware_cfg.errors import SourceError

_EXAMPLE = "gstreamer:nvarguscamerasrc ! nvvidconv ! video/x-raw,format=I420"
_START_S = 15.0
"""A Jetson's camera daemon takes some seconds to come up."""
_GRACE_S = 2.0


class GStreamerSource(LiveSource, schemes=("gstreamer",)):
    """The pictures of a GStreamer pipeline that ends in raw video (I420, NV12 or RGB) in ordinary memory.

    The pipeline runs in a process of its own, which is killed and started again when it hangs. Its words are
    seen by every user of this machine (`ps`), so a password does not belong there.
    """

    def __init__(self, pipeline: Sequence[str], options: CameraOptions) -> None:
        super().__init__(f"gstreamer:{next(iter(elements(pipeline)), '')}", options)
        self._pipeline = tuple(pipeline)

    @classmethod
    def from_options(cls, uri: str, options: CameraOptions) -> GStreamerSource:
        """The pipeline, not yet started. Raises SourceError when it is none, or an element is missing."""
        _, _, description = uri.partition(":")
        try:
            words = shlex.split(description)
        except ValueError as error:
            raise SourceError(f"gstreamer: {error} in the pipeline (write {_EXAMPLE})") from None
        if not elements(words):
            raise SourceError(f"gstreamer: no pipeline (write {_EXAMPLE})")
        check_elements(words)
        return cls(words, options)

    def _shots(self) -> Generator[Shot, None, None]:
        clock = StreamClock()
        patience_s = max(_START_S, self._options.stall_s)
        with GstProcess(self._pipeline) as process:
            while not self._ends():
                self._promise(patience_s + _GRACE_S)
                shot = self._next(process, patience_s, clock)
                if shot is None:
                    return
                patience_s = self._options.stall_s
                yield from shot

    def _next(self, process: GstProcess, patience_s: float, clock: StreamClock) -> list[Shot] | None:
        """The next picture, none if it was damaged, None at the end. Raises CameraError."""
        try:
            got = process.next(patience_s)
        except Frozen:
            raise frozen(self.name, patience_s) from None
        except ValueError as error:
            raise CameraError(f"{self.name}: the pipeline sends {error}", "stream damaged") from error
        if got is None:
            if problem := process.last_words():
                raise CameraError(f"{self.name}: {problem}", "pipeline failed")
            return None
        image, stamp_s, damaged = got
        now_s = time.monotonic()
        self.fps = process.format.fps if process.format is not None else None
        if stamp_s is not None:
            clock.note(stamp_s, now_s)
        if damaged:
            self._skip("damaged frame", "marked by the decoder")
            return []
        return [Shot(image, clock.captured_s(stamp_s, now_s))]
