"""The pictures that a run keeps: the frame small, and what it found cut out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.evidence.picture import picture, shrunk

if TYPE_CHECKING:
    from edge.frames import Image

THUMBNAIL_SIDE = 640
"""Longer side in pixels: enough to lay two flights over one another by it."""
_QUALITY = 75
_CROP_BYTES = 6 << 10


def thumbnail(image: Image) -> bytes:
    """The whole picture as JPEG, THUMBNAIL_SIDE pixels long at most."""
    import cv2

    small = shrunk(image, min(1.0, THUMBNAIL_SIDE / max(image.width, image.height)))
    pixels = cv2.cvtColor(small.rgb(), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(encoded.tobytes())


def crop(image: Image, box: tuple[float, float, float, float]) -> bytes:
    """A box (x1, y1, x2, y2 in pixels) with its surroundings as JPEG of a few KiB."""
    return picture(image, [box], _CROP_BYTES)
