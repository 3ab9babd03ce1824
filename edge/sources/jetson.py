"""RTSP with the Jetson's video decoder: FFmpeg talks to the camera, GStreamer's nvv4l2decoder decodes.

So losses, lateness and logins are dealt with in one place whoever decodes, and the password stays here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from edge.sources.camera import CameraError, CameraOptions, Shot
from edge.sources.gdp import buffer_record, caps_record, segment_record, start_records
from edge.sources.gst_process import Frozen, GstProcess, check_elements
from edge.sources.rtsp import RtspSource
from edge.sources.stream_clock import StreamClock

if TYPE_CHECKING:
    from av.container import InputContainer

_START_S = 15.0
_GRACE_S = 2.0


class JetsonRtspSource(RtspSource):
    """The first video stream of an RTSP camera, decoded by the Jetson's own hardware.

    Raises SourceError when a part of GStreamer that it needs is missing.
    """

    decoding: ClassVar[tuple[str, ...]] = ("nvv4l2decoder", "!", "nvvidconv")
    """From parsed packets to raw video in ordinary memory."""

    def __init__(self, url: str, options: CameraOptions) -> None:
        check_elements(["gdpdepay", "!", "h264parse", "!", "h265parse", "!", *self.decoding])
        super().__init__(url, options)

    def _shots(self) -> Generator[Shot, None, None]:
        container = self._connected()
        codec = {"h264": "h264", "hevc": "h265"}.get(container.streams.video[0].codec_context.name)
        if codec is None:
            container.close()
            raise CameraError(
                f"{self.name}: the Jetson decodes H.264 and H.265 (set the camera to one)", "no video"
            )
        words = ("fdsrc", "fd={fed}", "!", "gdpdepay", "!", f"{codec}parse", "!", *self.decoding)
        clock = StreamClock()
        with GstProcess(words, fed=True) as process:
            feeder = _Feeder(self, container, process, clock, codec)
            try:
                yield from self._pictures(process, feeder, clock)
            finally:
                process.kill()  # lets go of a feeder that waits for it
                self._promise(self._options.stall_s + _GRACE_S)
                feeder.join(self._options.stall_s + _GRACE_S)

    def _pictures(
        self, process: GstProcess, feeder: _Feeder, clock: StreamClock
    ) -> Generator[Shot, None, None]:
        patience_s = _START_S
        while not self._ends():
            self._promise(patience_s + _GRACE_S)
            try:
                got = process.next(patience_s)
            except Frozen:
                raise feeder.error or CameraError(
                    f"{self.name}: the decoder gave no picture for {patience_s:g} s", "decoder frozen"
                ) from None
            except ValueError as error:
                raise CameraError(f"{self.name}: the decoder sends {error}", "pipeline failed") from error
            if got is None:
                feeder.join(_GRACE_S)
                problem = process.last_words() or "it ended"
                raise feeder.error or CameraError(f"{self.name}: the decoder: {problem}", "pipeline failed")
            patience_s = self._options.stall_s + _GRACE_S  # the feeder notices first when the camera stalls
            image, stamp_s, damaged = got
            if damaged:
                self._skip("damaged frame", "marked by the decoder")
                continue
            yield Shot(image, clock.captured_s(stamp_s, time.monotonic()))


class _Feeder(threading.Thread):
    """Reads the camera and feeds the decoder, each of which may make it wait. `error` is why it ended."""

    def __init__(
        self,
        source: JetsonRtspSource,
        container: InputContainer,
        process: GstProcess,
        clock: StreamClock,
        codec: str,
    ) -> None:
        super().__init__(name="feeder", daemon=True)
        self.error: CameraError | None = None
        self._source = source
        self._container = container
        self._process = process
        self._clock = clock
        self._codec = codec
        self.start()

    def run(self) -> None:
        """Until the camera, or the decoder, is gone."""
        caps = f"video/x-{self._codec}, stream-format=(string)byte-stream, alignment=(string)au"
        try:
            with self._container as container:
                stream = container.streams.video[0]
                self._process.feed(start_records("camera") + caps_record(caps) + segment_record())
                lead = bytes(stream.codec_context.extradata or b"")
                for packet in self._source.timely(container, stream, self._clock):
                    pts = (
                        packet.pts
                        if packet.pts is None
                        else max(0, int(packet.pts * packet.time_base * 10**9))
                    )
                    self._process.feed(buffer_record(lead + bytes(packet), pts))
                    lead = b""
            self.error = CameraError(f"{self._source.name}: the camera ended the stream", "stream ended")
        except CameraError as error:
            self.error = error
        except OSError as error:
            self.error = CameraError(
                f"{self._source.name}: the decoder ended ({error.strerror})", "pipeline failed"
            )
        # What the decoder has left is not waited for: the pictures after a loss are what counts.
        self._process.kill()
