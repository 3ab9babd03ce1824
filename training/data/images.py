"""What is done to every single image, on whichever machine: look at it once, and pack it into a shard."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.duplicates import phash
from training.errors import DataError

# Formats that go into a shard as they are, by PIL's names; others, and images too large, become JPEG.
_KEPT = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


@dataclass(frozen=True, slots=True)
class Examined:
    """One look at an image file.

    file: below the data root; size, modified: bytes and nanoseconds, of the file when it was looked at;
    phash: 64 bits as 16 hex digits; width, height: pixels, turned as the file's EXIF tag says; problem: why
    the image is of no use, or "".
    """

    file: str
    size: int
    modified: int
    phash: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""

    def bits(self) -> NDArray[np.bool_]:
        """The perceptual hash as (64,) bool."""
        return np.unpackbits(np.frombuffer(bytes.fromhex(self.phash), np.uint8)).astype(np.bool_)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(root: Path, file: str) -> Examined:
    """Decode an image to its end and hash it. What is wrong with it is told, not raised."""
    from PIL import Image, UnidentifiedImageError

    path = root / file
    try:
        status = path.stat()
        looked = Examined(file, status.st_size, status.st_mtime_ns)
        data = path.read_bytes()
    except OSError as error:
        return Examined(file, 0, 0, problem=f"cannot be opened ({error.strerror})")
    if not data:
        return replace(looked, problem="is empty")
    try:
        # PIL refuses a file that ends too early; OpenCV, which training decodes with, fills it with grey.
        bits = phash(io.BytesIO(data))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # SyntaxError is PIL's word for a broken PNG; and its own buffer's address tells a user nothing.
        said = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        return replace(looked, problem=f"cannot be decoded ({' '.join(said.split())})")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return replace(looked, problem="cannot be decoded (by OpenCV)")
    height, width = pixels.shape[:2]
    return replace(looked, phash=np.packbits(bits).tobytes().hex(), width=width, height=height)


def stored_size(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """Width and height that an image is stored with."""
    scale = min(1.0, longest_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def pack(path: Path, size: tuple[int, int], quality: int) -> tuple[str, bytes]:
    """Suffix and bytes of an image as a shard stores it; size: stored width and height in pixels.

    The file's own bytes where format and size allow, else a JPEG. Raises DataError where the file is not
    what it was when it was examined.
    """
    from PIL import Image

    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            suffix = _KEPT.get(image.format or "")
    except OSError as error:
        raise DataError(f"{path}: has changed since it was examined ({error})") from error
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DataError(f"{path}: has changed since it was examined (not an image any more)")
    if (pixels.shape[1], pixels.shape[0]) == size and suffix is not None:
        return suffix, data
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return ".jpg", cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
