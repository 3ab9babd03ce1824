"""Video files by PyAV (FFmpeg): decoded planes, capture times, and damage counted frame by frame."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edge.frames import Frame
from edge.sources.base import CaptureClock, FrameSource
from edge.sources.planes import to_image
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".flv", ".wmv",
    ".3gp", ".ogv", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".265", ".hevc", ".gif",
)  # fmt: skip

_DEFAULT_FPS = 25.0
_CREDIBLE_FPS = (0.01, 2000.0)
"""A damaged header may claim any rate."""
_MAX_DEMUX_ERRORS = 32
"""Read errors in a row after which the rest of a damaged file is given up."""
_CREDIBLE_SINCE = datetime(2000, 1, 1, tzinfo=timezone.utc)
"""A recorder without a set clock stamps 1904 or 1970."""


class VideoFile(FrameSource, suffixes=SUFFIXES):
    """The frames of a file's first video stream, in display order.

    A frame that cannot be decoded, or that the decoder marks as patched up, is counted in `skipped`, logged
    and left out. Its number stays unused: a frame's number is its rank among the time stamps of all packets.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.name)
        self._path = path
        container, stream = self._open()
        self._container: InputContainer | None = container
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate and _CREDIBLE_FPS[0] <= rate <= _CREDIBLE_FPS[1] else None
        self.length = stream.frames or None
        self._step_s = 1.0 / (self.fps or _DEFAULT_FPS)
        # AVI has a constant rate and no time stamps; what FFmpeg guesses for them is out of order.
        self._stamped = container.format.name != "avi"

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> VideoFile:
        """Opens the video file at path `uri`. Raises SourceError."""
        return cls(Path(uri))

    def close(self) -> None:
        """Closes the file. Frames handed out before stay valid."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def __iter__(self) -> Iterator[Frame]:
        self.close()
        self._container, stream = self._open()
        clock = CaptureClock(self._step_s, _creation_time(self._container))
        delivered = 0
        try:
            for picture, number in self._pictures(self._container, stream):
                time_s, captured_at = clock.tick(self._stamp_s(picture, number, stream))
                delivered += 1
                yield Frame(to_image(picture), number, time_s, captured_at, time.monotonic_ns(), self.name)
        finally:
            self.close()
        if not delivered:
            raise SourceError(f"{self._path}: not one frame can be decoded (copy it again from its origin)")

    def _open(self) -> tuple[InputContainer, VideoStream]:
        import av
        from av.error import FFmpegError

        try:
            # "file:" keeps FFmpeg from reading a protocol into a name such as "a:b.mp4".
            container = av.open(f"file:{self._path}", "r", metadata_errors="replace")
        except (FFmpegError, OSError) as error:
            raise SourceError(
                f"{self._path}: cannot be opened as a video: {_words(error)} (copy it again from its origin)"
            ) from error
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._path}: there is no video in this file (only sound or data)")
        stream = container.streams.video[0]
        if cast("object | None", stream.codec_context) is None:  # whatever PyAV's stub says
            container.close()
            raise SourceError(
                f"{self._path}: FFmpeg knows no decoder for this video (convert it, or copy it again)"
            )
        # With frame threads FFmpeg loses the mark on damaged pictures, depending on timing, and with slice
        # threads it does not look for slices that are missing.
        stream.codec_context.thread_count = 1
        return container, stream

    def _stamp_s(self, picture: av.VideoFrame, number: int, stream: VideoStream) -> float:
        if not self._stamped or picture.pts is None or not stream.time_base:
            return number * self._step_s
        return float((picture.pts - (stream.start_time or 0)) * stream.time_base)

    def _pictures(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[tuple[av.VideoFrame, int]]:
        """Whole pictures in display order, each with its number; everything else is counted and logged."""
        from av.error import FFmpegError

        # VP8 keeps invisible reference frames in packets of their own, which never become a picture.
        ranks = _Ranks(stamped=self._stamped and stream.codec_context.name != "vp8")
        packets = 0
        for packet in self._packets(container, stream):
            if packet.size and not packet.is_discard:
                ranks.expect(packet.pts)
                packets += 1
            try:
                pictures = packet.decode()
            except FFmpegError as error:
                if lost := ranks.failed():
                    self._skip("undecodable frame", _words(error), lost)
                continue
            for picture in pictures:
                number, lost = ranks.take(picture.pts)
                if lost:
                    self._skip("undecodable frame", f"before frame {number}", lost)
                if picture.is_corrupt:
                    self._skip("damaged frame", f"frame {number}")
                    continue
                yield picture, number
        if lost := ranks.left():
            self._skip("undecodable frame", "at the end", lost)
        if "mp4" in container.format.name and packets < stream.frames:
            self._skip("frame cut off", "the file ends early", stream.frames - packets)

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[av.Packet[VideoStream]]:
        """Every packet that can be read, past damage too; the last is empty and flushes the decoder."""
        from av.error import FFmpegError

        errors = 0
        while errors < _MAX_DEMUX_ERRORS:
            try:
                for packet in container.demux(stream):
                    errors = 0
                    yield packet
                return
            except FFmpegError as error:
                errors += 1
                self._skip("unreadable data", _words(error))


class _Ranks:
    """Numbers pictures by the rank of their time stamp among the packets', so that a lost one leaves a gap.

    A decoder puts out pictures in display order, after every packet that is to be shown earlier. So when one
    appears, the packets with a smaller stamp that are still waited for will never become a picture.
    """

    def __init__(self, *, stamped: bool) -> None:
        self._blind = not stamped
        self._waiting: list[int] = []
        self._next = 0

    def expect(self, pts: int | None) -> None:
        """Notes a packet that should become a picture. Once a stamp is missing, ranks are of no use."""
        if pts is None:
            self._blind = True
        elif not self._blind:
            heapq.heappush(self._waiting, pts)

    def failed(self) -> int:
        """Pictures known to be lost because a packet raised an error: with ranks, the gap will tell."""
        if not self._blind:
            return 0
        self._next += 1
        return 1

    def take(self, pts: int | None) -> tuple[int, int]:
        """Number of the picture with this stamp, and how many were lost just before it."""
        lost = 0
        while not self._blind and pts is not None and self._waiting and self._waiting[0] <= pts:
            # Equal stamps are the two fields of one picture.
            lost += heapq.heappop(self._waiting) < pts
        number = self._next + lost
        self._next = number + 1
        return number, lost

    def left(self) -> int:
        """Pictures still waited for when the decoder has been flushed."""
        return 0 if self._blind else len(self._waiting)


def _creation_time(container: InputContainer) -> datetime | None:
    """When recording began, if the file says so credibly (DJI, GoPro and phones write it, in UTC)."""
    try:
        # Without what follows the seconds: fromisoformat of Python 3.10 reads neither Z nor every fraction.
        created = datetime.strptime(container.metadata.get("creation_time", "")[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    created = created.replace(tzinfo=timezone.utc)
    return created if _CREDIBLE_SINCE <= created <= datetime.now(timezone.utc) else None


def _words(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
