"""A part of a frame as a JPEG that is small enough for a thin radio link."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge.frames import I420Image, NV12Image, RgbImage

if TYPE_CHECKING:
    from edge.alerts.machine import Box
    from edge.frames import Image, Pixels

MAX_SIDE = 1280
"""A whole frame is not kept larger than this, in pixels."""
MARGIN = 0.25
"""What is shown around the boxes, as a share of them: an operator judges by the surroundings."""
MIN_SIDE = 128
"""The least that is shown, in pixels of the frame; a person seen from above is a dozen."""
_QUALITIES = (85, 70, 50)
_SMALLEST = 8  # pixels; a JPEG of that is its header
_COMMENT = b"\xff\xfe"  # JPEG's marker for a comment


def picture(image: Image, boxes: Sequence[Box], max_bytes: int) -> bytes:
    """What the boxes show as JPEG of at most `max_bytes` bytes: less quality, then smaller, until it fits.

    A comment inside the JPEG says `{"crop": [x1, y1, x2, y2]}`, as fractions of the frame like an event's
    boxes, so that those can be drawn on it.

    Args:
        image: the frame. It is only read.
        boxes: x1, y1, x2, y2 in pixels of the frame; without any the whole frame is meant.
        max_bytes: a JPEG cannot be smaller than about 700.

    Raises:
        ValueError: not even the smallest picture fits.
    """
    import cv2  # slow to load; a flight without an alert never needs it

    area = _around(boxes, image.width, image.height)
    comment = _comment(area, image.width, image.height)
    shown = cut(image, area)
    room = max_bytes - len(comment)
    scale = min(1.0, MAX_SIDE / max(shown.width, shown.height))
    while True:
        pixels = cv2.cvtColor(shrunk(shown, scale).rgb(), cv2.COLOR_RGB2BGR)
        for quality in _QUALITIES:
            done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not done:
                raise ValueError("OpenCV cannot write JPEG")
            if encoded.size <= room:
                return _with_comment(encoded.tobytes(), comment)
        if max(pixels.shape[:2]) <= _SMALLEST:
            raise ValueError(f"no picture fits into {max_bytes} bytes")
        # The bytes go about with the area; a little more, since headers do not shrink.
        scale *= min(0.8, 0.95 * math.sqrt(max(1, room) / encoded.size))
        scale = max(scale, _SMALLEST / max(shown.width, shown.height))


def _around(boxes: Sequence[Box], width: int, height: int) -> tuple[int, int, int, int]:
    """The rectangle around all boxes with its margin, inside the frame; it begins at even pixels."""
    if not boxes:
        return 0, 0, width, height
    corners = np.asarray(boxes, dtype=np.float64)
    left, right = _span(corners[:, 0].min(), corners[:, 2].max(), width)
    top, bottom = _span(corners[:, 1].min(), corners[:, 3].max(), height)
    return left, top, right, bottom


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    low, high = min(max(low, 0.0), length), min(max(high, 0.0), length)
    wanted = min(max((1 + 2 * MARGIN) * (high - low), MIN_SIDE), length)
    begin = min(max((low + high - wanted) / 2, 0.0), length - wanted)
    # Even, because a chroma sample belongs to two pixels.
    even = int(begin) // 2 * 2
    return even, min(length, max(even + 1, math.ceil(begin + wanted)))


def cut(image: Image, area: tuple[int, int, int, int]) -> Image:
    """The part x1, y1, x2, y2 of a picture, in its pixels, not copied; x1 and y1 must be even."""
    left, top, right, bottom = area
    return image.crop(left, top, right - left, bottom - top)


def shrunk(image: Image, scale: float) -> Image:
    """The picture at `scale` (at most 1), plane by plane: a large frame is never turned to RGB as a whole."""
    import cv2

    width, height = max(1, round(scale * image.width)), max(1, round(scale * image.height))

    def resize(plane: Pixels, wide: int, high: int) -> Pixels:
        return np.asarray(cv2.resize(plane, (wide, high), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    if (width, height) == (image.width, image.height):
        return image
    if isinstance(image, RgbImage):
        return RgbImage(resize(image.pixels, width, height))
    y, half = resize(image.y, width, height), ((width + 1) // 2, (height + 1) // 2)
    if isinstance(image, NV12Image):
        return NV12Image(y, resize(image.uv, *half), image.standard, image.full_range)
    return I420Image(y, resize(image.u, *half), resize(image.v, *half), image.standard, image.full_range)


def _comment(area: tuple[int, int, int, int], width: int, height: int) -> bytes:
    left, top, right, bottom = area
    crop = [round(value, 6) for value in (left / width, top / height, right / width, bottom / height)]
    text = json.dumps({"crop": crop}, separators=(",", ":")).encode()
    return _COMMENT + (len(text) + 2).to_bytes(2, "big") + text


def _with_comment(jpeg: bytes, comment: bytes) -> bytes:
    # JFIF wants its own segment right after the two bytes that begin a JPEG; the comment follows that.
    place = 4 + int.from_bytes(jpeg[4:6], "big")
    return jpeg[:place] + comment + jpeg[place:]
