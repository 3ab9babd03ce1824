"""What a run leaves to look at: an annotated mp4 and a contact sheet, written beside the frame loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.files import write_atomically
from edge.render import encode_png, thumbnail
from firmware_cfg.errors import RemoteclipError

Pixels = NDArray[np.uint8]

WAITING_FRAMES = 8
SHEET_COLUMNS, SHEET_ROWS = 3, 3
SHEET_TILE = (400, 225)
_TIME_BASE = Fraction(1, 90_000)
_CODECS = ("libx264", "mpeg4")  # mpeg4 is in every build of FFmpeg


class VideoWriter:
    """An mp4 that appears under its name only when it is whole.

    Frames may differ in size: each is fitted into the size of the first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._container: Any = None
        self._stream: Any = None
        self._last_pts = -1

    def write(self, pixels: Pixels, time_s: float) -> None:
        """Add one frame, (H, W, 3) uint8 RGB, shown from `time_s` seconds on."""
        import av

        if self._container is None:
            self._open(pixels.shape[1], pixels.shape[0])
        picture = av.VideoFrame.from_ndarray(
            thumbnail(pixels, self._stream.width, self._stream.height), format="rgb24"
        )
        # The muxer takes strictly rising times only; images of a folder may all have the same one.
        self._last_pts = max(self._last_pts + 1, round(time_s / _TIME_BASE))
        picture.pts, picture.time_base = self._last_pts, _TIME_BASE
        for packet in self._stream.encode(picture.reformat(format="yuv420p")):
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file. Without any frame no file is left."""
        if self._container is None:
            return
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()
        self._container = None
        os.replace(self._part, self.path)

    def abandon(self) -> None:
        """Leave no file behind."""
        import av

        if self._container is not None:
            with suppress(OSError, ValueError, av.FFmpegError):  # the file is thrown away, whole or not
                self._container.close()
            self._container = None
        self._part.unlink(missing_ok=True)

    def _open(self, width: int, height: int) -> None:
        import av
        from av.codec import codecs_available

        codec = next(name for name in _CODECS if name in codecs_available)
        self._container = av.open(str(self._part), "w", format="mp4")
        self._stream = self._container.add_stream(codec, rate=Fraction(30))
        # 4:2:0 needs even sides; an odd last row or column is shrunk into them.
        self._stream.width, self._stream.height = max(2, width // 2 * 2), max(2, height // 2 * 2)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TIME_BASE
        if codec == "libx264":
            self._stream.options = {"preset": "veryfast", "crf": "26"}


class ContactSheet:
    """Frames spread evenly over a run of unknown length, in bounded memory.

    Every `stride`-th frame is kept; when twice as many as the sheet holds are there, every second one goes
    and the stride doubles.
    """

    def __init__(self, tiles: int = SHEET_COLUMNS * SHEET_ROWS) -> None:
        self._tiles = tiles
        self._kept: list[Pixels] = []
        self._stride = 1
        self._seen = 0

    def add(self, pixels: Pixels) -> None:
        """Take one frame in, (H, W, 3) uint8 RGB."""
        if self._seen % self._stride == 0:
            self._kept.append(thumbnail(pixels, *SHEET_TILE))
            if len(self._kept) == 2 * self._tiles:
                self._kept = self._kept[::2]
                self._stride *= 2
        self._seen += 1

    def render(self) -> Pixels | None:
        """The sheet, (rows * tile height, columns * tile width, 3) uint8 RGB; None before the first frame."""
        if not self._kept:
            return None
        count = min(self._tiles, len(self._kept))
        spread = np.linspace(0, len(self._kept) - 1, count).round().astype(int)
        chosen = [self._kept[index] for index in spread]
        columns = min(SHEET_COLUMNS, count)
        blank = np.zeros_like(chosen[0])
        chosen += [blank] * (-count % columns)
        rows = [np.hstack(chosen[start : start + columns]) for start in range(0, len(chosen), columns)]
        return np.vstack(rows)


class Recorder:
    """Encodes in a thread of its own, so that the frame loop only hands pictures over.

    `with Recorder(folder) as recorder: recorder.add(draw, time_s)`; leaving the block finishes both files.
    A write that fails (a full disk) does not stop the frame loop: it is raised at the end as RemoteclipError.
    """

    def __init__(self, folder: Path) -> None:
        self.video_path = folder / "annotated.mp4"
        self.sheet_path = folder / "contact_sheet.png"
        self._video = VideoWriter(self.video_path)
        self._sheet = ContactSheet()
        self._waiting: Queue[tuple[Callable[[], Pixels], float] | None] = Queue(WAITING_FRAMES)
        self._failure: Exception | None = None
        self._thread = Thread(target=self._work, name="recorder", daemon=True)

    def add(self, draw: Callable[[], Pixels], time_s: float) -> None:
        """Hand one picture over; `draw` makes it, (H, W, 3) uint8 RGB, in the recorder's thread.

        Waits while too many are queued.
        """
        self._waiting.put((draw, time_s))

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join()
        if self._failure is not None and error is None:
            folder = self.video_path.parent
            raise RemoteclipError(f"{folder}: cannot record: {self._failure}") from self._failure

    def _work(self) -> None:
        item = self._waiting.get()
        try:
            while item is not None:
                self._write(*item)
                item = self._waiting.get()
            self._finish()
        except Exception as error:  # noqa: BLE001 - carried over to whoever leaves the block
            self._failure = error
            self._video.abandon()
        finally:
            while item is not None:  # whoever hands pictures over must not wait for a recorder that gave up
                item = self._waiting.get()

    def _write(self, draw: Callable[[], Pixels], time_s: float) -> None:
        pixels = draw()
        self._video.write(pixels, time_s)
        self._sheet.add(pixels)

    def _finish(self) -> None:
        self._video.close()
        sheet = self._sheet.render()
        if sheet is not None:
            write_atomically(self.sheet_path, encode_png(sheet))
