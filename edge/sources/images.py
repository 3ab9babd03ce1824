"""Image files as a source: one file, or a folder in natural order."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edge.frames import Frame, Pixels, RgbImage
from edge.sources.base import CaptureClock, FrameSource
from firmware_cfg.errors import SourceError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")

IMAGE_INTERVAL_S = 1.0
"""Images carry no clock that can be trusted, so they count as this far apart."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts frame2 before frame10, and upper case beside lower case."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    keys = [(0, int(p), "") if p[0] in "0123456789" else (1, 0, p.casefold()) for p in parts]
    # The name itself breaks ties such as 01 and 1, so that the order never depends on the file system.
    return (*keys, (2, 0, name))


class ImageFiles(FrameSource, suffixes=SUFFIXES):
    """Frames from image files, EXIF orientation applied, 8-bit RGB whatever the file holds.

    `independent` is true unless `sequence` was asked for. A file that cannot be read or decoded is counted in
    `skipped`, logged, and passed over; its number stays unused.
    """

    def __init__(self, name: str, files: Sequence[Path], *, sequence: bool) -> None:
        super().__init__(name)
        self._files = tuple(files)
        self.length = len(self._files)
        self.independent = not sequence

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> ImageFiles:
        """Takes an image file, or every image right inside a folder. Raises SourceError if there is none."""
        path = Path(uri)
        if not path.is_dir():
            return cls(path.name, (path,), sequence=sequence)
        try:
            # macOS leaves ._name.jpg beside every name.jpg on a card; those are not images.
            files = [e for e in path.iterdir() if e.suffix.lower() in SUFFIXES and not e.name.startswith(".")]
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror} (check its permissions)") from error
        if not files:
            looked_for = " ".join(SUFFIXES)
            raise SourceError(
                f"{path}: no images in this folder (looked for {looked_for}, not in sub-folders)"
            )
        return cls(path.resolve().name, sorted(files, key=lambda e: natural_key(e.name)), sequence=sequence)

    def __iter__(self) -> Iterator[Frame]:
        clock = CaptureClock(IMAGE_INTERVAL_S)
        delivered = 0
        problem = ""
        for number, path in enumerate(self._files):
            try:
                image = RgbImage(read_rgb(path))
            except SourceError as error:
                problem = str(error)
                self._skip("unreadable image", problem)
                continue
            time_s, captured_at = clock.tick(number * IMAGE_INTERVAL_S)
            delivered += 1
            yield Frame(image, number, time_s, captured_at, time.monotonic_ns(), path.name)
        if not delivered:
            many = f"{self.name}: not one of {len(self._files)} images can be read; the last: "
            raise SourceError(many + problem if len(self._files) > 1 else problem)


def read_rgb(path: Path) -> Pixels:
    """Reads one image file as (H, W, 3) uint8 RGB with its EXIF orientation applied. Raises SourceError."""
    import cv2  # slow to load, and a daemon on video may never need it

    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror} (check its permissions)") from error
    if not data:
        raise SourceError(f"{path}: the file is empty, 0 bytes (copy it again from its origin)")
    # OpenCV would print lines of its own about a damaged file, where one clear line of ours is the promise.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    damaged = f"{path}: damaged, or not an image that OpenCV can decode (copy it again from its origin)"
    try:
        bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(damaged) from error
    if bgr is None:
        raise SourceError(damaged)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
