"""Cameras of this machine (USB, HDMI grabbers) by Video4Linux2, read with PyAV's own FFmpeg."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from edge.sources.camera import CameraError, CameraOptions, Shot
from edge.sources.live import LiveSource
from edge.sources.planes import to_image
from edge.sources.stream_clock import StreamClock
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from av.container import InputContainer

_EXAMPLE = "v4l2:///dev/video0?size=1280x720&fps=30"
_SETTINGS = {"size": "video_size", "fps": "framerate", "format": "input_format"}
"""What may be asked of a camera, by FFmpeg's names; `v4l2-ctl --list-formats-ext` tells what it can."""
_OPEN_S = 10.0
_GRACE_S = 2.0


class V4l2Source(LiveSource, schemes=("v4l2",)):
    """A camera at `v4l2:///dev/video0?size=1280x720&fps=30&format=mjpeg`; the driver chooses the rest.

    A camera that is pulled out is waited for, under the same name: /dev/v4l/by-id/... stays the same
    whichever port it is put into.
    """

    def __init__(self, device: Path, settings: dict[str, str], options: CameraOptions) -> None:
        super().__init__(str(device), options)
        self._device = device
        self._settings = settings

    @classmethod
    def from_options(cls, uri: str, options: CameraOptions) -> V4l2Source:
        """The camera, not yet opened. Raises SourceError when the address is none."""
        parts = urlsplit(uri)
        if parts.netloc or len(parts.path) < 2:
            raise SourceError(f"{uri}: no path of a camera (write {_EXAMPLE})")
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        for key, value in asked.items():
            if key not in _SETTINGS or not value:
                raise SourceError(
                    f"{uri}: cannot ask a camera for {key}={value} (known: {', '.join(_SETTINGS)})"
                )
        return cls(Path(unquote(parts.path)), {_SETTINGS[key]: asked[key] for key in asked}, options)

    def _shots(self) -> Generator[Shot, None, None]:
        from av.error import FFmpegError

        clock = StreamClock()
        with self._opened() as container:
            stream = container.streams.video[0]
            descriptor = descriptor_of(self._device)
            while not self._ends():
                self._wait(descriptor)
                try:
                    packet = next(container.demux(stream))
                except (FFmpegError, StopIteration) as error:
                    raise self._gone(error) from error
                if packet.pts is not None:  # the driver's, by the monotonic clock when the exposure ended
                    clock.note(float(packet.pts * packet.time_base), time.monotonic())
                self._promise(0)
                try:
                    pictures = packet.decode()
                except FFmpegError as error:  # a cable with a bad contact cuts pictures of MJPEG short
                    self._skip("undecodable frame", str(error.strerror))
                    continue
                for picture in pictures:
                    if picture.is_corrupt:
                        self._skip("damaged frame", "cut short")
                        continue
                    stamp_s = None if picture.pts is None else float(picture.pts * packet.time_base)
                    yield Shot(to_image(picture), clock.captured_s(stamp_s, time.monotonic()))

    def _opened(self) -> InputContainer:
        import av
        from av.error import FFmpegError

        self._check_device()
        self._promise(_OPEN_S)
        try:
            container = av.open(str(self._device), "r", format="v4l2", options=dict(self._settings))
        except (FFmpegError, OSError, ValueError) as error:
            raise self._unfit(error) from error
        rate = container.streams.video[0].average_rate
        self.fps = float(rate) if rate else None
        return container

    def _check_device(self) -> None:
        try:
            mode = self._device.stat().st_mode
        except OSError as error:
            raise self._gone(error) from error
        if not stat.S_ISCHR(mode):
            raise CameraError(f"{self.name}: not a camera (v4l2-ctl --list-devices names them)", "no camera")
        if not os.access(self._device, os.R_OK | os.W_OK):
            raise CameraError(
                f"{self.name}: no right to use the camera (put this user into the group video)", "no camera"
            )

    def _unfit(self, error: Exception) -> CameraError:
        reason = getattr(error, "strerror", None) or type(error).__name__
        asked = ", ".join(
            f"{key}={self._settings[name]}" for key, name in _SETTINGS.items() if name in self._settings
        )
        mend = f"can it do {asked}? " if asked else ""
        if getattr(error, "errno", None) == 16:  # EBUSY
            return CameraError(f"{self.name}: another program uses the camera (end that one)", "no camera")
        return CameraError(
            f"{self.name}: cannot be read as a camera: {reason} ({mend}v4l2-ctl --list-formats-ext tells)",
            "no camera",
        )

    def _gone(self, error: Exception) -> CameraError:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return CameraError(f"{self.name}: no camera there: {reason} (is it plugged in?)", "camera unplugged")

    def _wait(self, descriptor: int | None) -> None:
        """Until there is a picture: FFmpeg would wait for ever, deaf to any time limit."""
        self._promise(self._options.stall_s + _GRACE_S)
        if descriptor is None:
            return
        ready = select.poll()
        ready.register(descriptor, select.POLLIN)
        if not ready.poll(self._options.stall_s * 1000):
            raise CameraError(
                f"{self.name}: frozen, no picture for {self._options.stall_s:g} s (plug it in again)",
                "stream frozen",
            )


def descriptor_of(path: Path) -> int | None:
    """The descriptor by which this process has `path` open; None if it has not, or cannot tell."""
    wanted = path.resolve()
    for entry in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):  # closed in the meantime
            if Path(os.readlink(entry)) == wanted:
                return int(entry.name)
    return None
