"""Image files as the frames that the drone's pipeline takes."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

from edge.frames import Frame, RgbImage
from training.pools import read_rgb


def frame_of(path: Path, number: int) -> Frame:
    """An image file as a frame of its own. Raises DataError where the file is no image."""
    image = RgbImage(read_rgb(path))
    return Frame(image, number, float(number), datetime.now(timezone.utc), time.monotonic_ns(), path.name)
