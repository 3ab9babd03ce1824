"""RTSP cameras by PyAV (FFmpeg): over TCP or UDP, damage and lateness counted frame by frame."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge.sources.camera import CameraError, CameraOptions, Shot, with_login
from edge.sources.camera_errors import frozen, why_lost, why_unreachable
from edge.sources.live import LiveSource
from edge.sources.packets import PictureJoiner
from edge.sources.planes import to_image
from edge.sources.stream_clock import StreamClock
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

_OPEN_S = 5.0
"""For each step of the handshake, and to see what kind of video it is."""
_GRACE_S = 2.0
"""A busy machine may be this late to notice that its time is over."""
_AT_ONCE_S = 0.005
"""Data that took no longer to read had been waiting for us."""
_NO_PICTURE_S = 10.0
_MAX_BAD_READS = 32


class RtspSource(LiveSource, schemes=("rtsp", "rtsps")):
    """The first video stream of an RTSP camera.

    A picture that cannot be decoded, or that the decoder marks as patched up, is counted in `skipped` and
    left out. Should the stream fall behind by more than `latency_s` while its data wait for us, they are
    dropped undecoded up to the next key frame. rtsps:// encrypts, and does not prove who the camera is.
    """

    def __init__(self, url: str, options: CameraOptions) -> None:
        super().__init__(url, options)
        self._url = with_login(url, options.username, options.password)
        self._dropping = False

    @classmethod
    def from_options(cls, uri: str, options: CameraOptions) -> RtspSource:
        """The camera at `rtsp://HOST[:PORT]/PATH`, not yet connected. Raises SourceError if it is no URL."""
        try:
            parts = urlsplit(uri)
            # A slash in a password would make the password's beginning the port.
            cut = ":" in parts.netloc and "@" in uri and "@" not in parts.netloc
            unfit = not parts.hostname or parts.port == 0 or cut
        except ValueError:
            unfit = True
        if unfit:
            raise SourceError(
                "the source's address is no URL (write rtsp://HOST:PORT/PATH, and %2F, %40 for a / or @ of a"
                " password)"
            )
        if options.decoder == "jetson":
            from edge.sources.jetson import JetsonRtspSource

            return JetsonRtspSource(uri, options)
        return cls(uri, options)

    def _shots(self) -> Generator[Shot, None, None]:
        clock = StreamClock()
        with self._connected() as container:
            stream = container.streams.video[0]
            picture_s = time.monotonic()
            for packet in self.timely(container, stream, clock):
                self._promise(0)  # whoever hangs in a decoder hangs
                for picture in self._decoded(packet, stream):
                    picture_s = time.monotonic()
                    stamp_s = _seconds(picture.pts, stream)
                    yield Shot(to_image(picture), clock.captured_s(stamp_s, picture_s))
                if time.monotonic() - picture_s > max(_NO_PICTURE_S, self._options.stall_s):
                    raise CameraError(
                        f"{self.name}: data come, but no whole picture for {_NO_PICTURE_S:g} s (a bad"
                        " link, or too few key frames: set the camera to one a second)",
                        "no whole picture",
                    )

    def _connected(self) -> InputContainer:
        import av
        from av.error import FFmpegError

        # Looking up a name can take as long as connecting.
        self._promise(3 * _OPEN_S)
        auto = {"rtsp_transport": "tcp+udp", "rtsp_flags": "prefer_tcp"}
        transport = self._options.transport
        how = auto if transport == "auto" else {"rtsp_transport": transport}
        how |= {"allowed_media_types": "video", "fflags": "nobuffer", "analyzeduration": "2000000"}
        how["fpsprobesize"] = "0"  # measuring the rate would take a second
        try:
            container = av.open(
                self._url,
                "r",
                options=how,
                timeout=(_OPEN_S, self._options.stall_s),
                metadata_errors="replace",
            )
        except (FFmpegError, OSError, ValueError) as error:
            # Not `from error`: its text has the URL with the password.
            raise why_unreachable(self.name, self._url, error, _OPEN_S) from None
        try:
            self._look_at(container)
        except BaseException:
            container.close()
            raise
        return container

    def _look_at(self, container: InputContainer) -> None:
        if not container.streams.video:
            raise CameraError(f"{self.name}: the camera sends no video (choose another path)", "no video")
        stream = container.streams.video[0]
        if (codec := stream.codec_context) is None or not codec.width:
            raise CameraError(
                f"{self.name}: no video that can be decoded here (set the camera to H.264 or H.265)",
                "no video",
            )
        # Frame threads add latency, and with slice threads FFmpeg does not look for slices that were lost.
        stream.codec_context.thread_count = 1
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate and 0.1 <= rate <= 1000 else None

    def timely(
        self, container: InputContainer, stream: VideoStream, clock: StreamClock
    ) -> Iterator[av.Packet[VideoStream]]:
        """The packets from the first key frame on, without those that come too late to matter."""
        limit_s = self._options.latency_s
        begun = False
        for packet, at_once in self._packets(container, stream):
            stamp_s, now_s = _seconds(packet.pts, stream), time.monotonic()
            late_s = 0.0 if stamp_s is None else clock.note(stamp_s, now_s)
            # Where nothing waits for us, the link itself is slow: dropping would only lose more.
            behind = limit_s is not None and at_once and late_s > (limit_s if begun else limit_s / 2)
            if behind or not (begun or packet.is_keyframe):
                if begun or self._dropping:
                    self._skip("too late", f"{late_s:.1f} s behind")
                    self._dropping = True
                begun = False
                continue
            begun, self._dropping = True, False
            yield packet

    def _packets(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[tuple[av.Packet[VideoStream], bool]]:
        """Every packet, and whether it had been waiting to be read. Raises CameraError when none comes."""
        from av.error import FFmpegError, InvalidDataError

        bad, joiner = 0, PictureJoiner()
        while not self._ends():
            asked_s = time.monotonic()
            self._promise(self._options.stall_s + _GRACE_S)
            try:
                packet = next(container.demux(stream))
            except StopIteration:
                return
            except InvalidDataError as error:
                bad += 1
                self._skip("unreadable data", str(error.strerror), 0)
                if bad >= _MAX_BAD_READS:
                    raise why_lost(self.name, error, self._options.stall_s) from None
                continue
            except (FFmpegError, OSError) as error:
                raise why_lost(self.name, error, self._options.stall_s) from None
            if not packet.size:
                return
            bad = 0
            took_s = time.monotonic() - asked_s
            if took_s >= self._options.stall_s:  # FFmpeg's parser gives away what it had, and no error
                raise frozen(self.name, self._options.stall_s)
            for whole in joiner.take(packet):
                yield whole, took_s < _AT_ONCE_S

    def _decoded(self, packet: av.Packet[VideoStream], stream: VideoStream) -> Iterator[av.VideoFrame]:
        """The whole pictures that this packet completes."""
        from av.error import FFmpegError

        try:
            pictures = stream.codec_context.decode(packet)
        except FFmpegError as error:
            self._skip("undecodable frame", str(error.strerror))
            return
        for picture in pictures:
            if picture.is_corrupt:
                self._skip("damaged frame", "patched up by the decoder")
            else:
                yield picture


def _seconds(stamp: int | None, stream: VideoStream) -> float | None:
    return None if stamp is None or not stream.time_base else float(stamp * stream.time_base)
