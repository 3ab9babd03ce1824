"""The frame: pixels as the decoder handed them out, when they were captured, their place in the source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge.geo.pose import Pose

Pixels: TypeAlias = NDArray[np.uint8]
Standard: TypeAlias = Literal["bt601", "bt709"]

_LUMA_WEIGHTS: dict[Standard, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


@lru_cache(maxsize=4)
def rgb_from_yuv(standard: Standard, full_range: bool) -> NDArray[np.float64]:
    """(3, 4) matrix of RGB from (Y, U, V, 1), all in grey levels 0..255."""
    kr, kb = _LUMA_WEIGHTS[standard]
    kg = 1.0 - kr - kb
    luma, chroma, black = (1.0, 1.0, 0.0) if full_range else (255.0 / 219.0, 255.0 / 224.0, 16.0)
    red_v, blue_u = 2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma
    linear = np.array(
        [[luma, 0.0, red_v], [luma, -blue_u * kb / kg, -red_v * kr / kg], [luma, blue_u, 0.0]],
        dtype=np.float64,
    )
    return np.hstack([linear, -linear @ np.array([[black], [128.0], [128.0]])])


def _require(array: Pixels, shape: tuple[int, ...], name: str) -> None:
    if array.dtype != np.uint8 or array.shape != shape:
        raise ValueError(f"{name} must be uint8 of shape {shape}, got {array.dtype} of shape {array.shape}")


def _require_yuv(y: Pixels, chroma: dict[str, Pixels], depth: tuple[int, ...], standard: Standard) -> None:
    if y.ndim != 2 or y.size == 0:
        raise ValueError(f"y must be (H, W) and not empty, got shape {y.shape}")
    height, width = y.shape
    _require(y, (height, width), "y")
    for name, plane in chroma.items():
        _require(plane, ((height + 1) // 2, (width + 1) // 2, *depth), name)
    if standard not in _LUMA_WEIGHTS:
        raise ValueError(f"standard must be one of {sorted(_LUMA_WEIGHTS)}, got {standard!r}")


def _part(x: int, y: int, width: int, height: int, frame: tuple[int, ...]) -> tuple[slice, slice]:
    if x % 2 or y % 2:
        raise ValueError(f"a part must begin at even pixels, got {x}, {y}")
    if x < 0 or y < 0 or min(width, height) < 1 or x + width > frame[1] or y + height > frame[0]:
        raise ValueError(
            f"a part of {width} x {height} at {x}, {y} does not lie in a {frame[1]} x {frame[0]} picture"
        )
    return slice(y, y + height), slice(x, x + width)


def _halved(part: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (slice(span.start // 2, (span.stop + 1) // 2) for span in part)
    return rows, columns


class _Yuv420:
    """What the layouts of YUV 4:2:0 have in common."""

    __slots__ = ()
    y: Pixels

    @property
    def width(self) -> int:
        """Columns of the picture, pixels."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Rows of the picture, pixels."""
        return int(self.y.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class I420Image(_Yuv420):
    """Planar YUV 4:2:0 as software decoders produce it; nothing is converted until somebody asks.

    `y` is (H, W), `u` and `v` are ((H+1)//2, (W+1)//2), all uint8. Rows may be padded (row stride above the
    width), pixels inside a row are adjacent. The planes may be the decoder's own memory: never write to them.
    `standard` and `full_range` say which YUV it is (limited range: Y is 16..235, U and V are 16..240).
    Raises ValueError when a plane's shape or type does not fit.
    """

    y: Pixels
    u: Pixels
    v: Pixels
    standard: Standard = "bt709"
    full_range: bool = False

    def __post_init__(self) -> None:
        _require_yuv(self.y, {"u": self.u, "v": self.v}, (), self.standard)

    def crop(self, x: int, y: int, width: int, height: int) -> I420Image:
        """The part of the picture from the even pixel (x, y) on: a view, nothing is copied.

        Raises ValueError when it begins at an odd pixel (chroma is halved) or does not lie in the picture.
        """
        part = _part(x, y, width, height, self.y.shape)
        half = _halved(part)
        return I420Image(self.y[part], self.u[half], self.v[half], self.standard, self.full_range)

    def rgb(self) -> Pixels:
        """The whole picture, a new (H, W, 3) uint8 RGB array; each chroma sample colours its 2 x 2 pixels."""
        return _rgb(self)


@dataclass(frozen=True, slots=True, eq=False)
class NV12Image(_Yuv420):
    """YUV 4:2:0 with interleaved chroma, as hardware decoders and GStreamer produce it.

    `y` is (H, W), `uv` is ((H+1)//2, (W+1)//2, 2), both uint8; otherwise as I420Image, also for what reads
    `u` and `v`. Raises ValueError when a plane's shape or type does not fit.
    """

    y: Pixels
    uv: Pixels
    standard: Standard = "bt709"
    full_range: bool = False

    def __post_init__(self) -> None:
        _require_yuv(self.y, {"uv": self.uv}, (2,), self.standard)

    @property
    def u(self) -> Pixels:
        """((H+1)//2, (W+1)//2) view of every other sample of `uv`."""
        return self.uv[..., 0]

    @property
    def v(self) -> Pixels:
        """((H+1)//2, (W+1)//2) view of every other sample of `uv`."""
        return self.uv[..., 1]

    def crop(self, x: int, y: int, width: int, height: int) -> NV12Image:
        """The part of the picture from the even pixel (x, y) on, as I420Image.crop."""
        part = _part(x, y, width, height, self.y.shape)
        return NV12Image(self.y[part], self.uv[_halved(part)], self.standard, self.full_range)

    def rgb(self) -> Pixels:
        """The whole picture, a new (H, W, 3) uint8 RGB array; each chroma sample colours its 2 x 2 pixels."""
        return _rgb(self)


def _rgb(image: I420Image | NV12Image) -> Pixels:
    import cv2  # slow to load, and the model path never comes here

    yuv = np.empty((image.height, image.width, 3), dtype=np.uint8)
    yuv[..., 0] = image.y
    for channel, plane in ((1, image.u), (2, image.v)):
        yuv[..., channel] = plane.repeat(2, axis=0).repeat(2, axis=1)[: image.height, : image.width]
    return np.asarray(cv2.transform(yuv, rgb_from_yuv(image.standard, image.full_range)), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class RgbImage:
    """`pixels` is (H, W, 3) uint8 RGB. Raises ValueError when the shape or type does not fit."""

    pixels: Pixels

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.size == 0:
            raise ValueError(f"pixels must be (H, W, 3) and not empty, got shape {self.pixels.shape}")
        _require(self.pixels, self.pixels.shape, "pixels")

    @property
    def width(self) -> int:
        """Columns of the picture, pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows of the picture, pixels."""
        return int(self.pixels.shape[0])

    def crop(self, x: int, y: int, width: int, height: int) -> RgbImage:
        """The part of the picture from the even pixel (x, y) on, as I420Image.crop."""
        return RgbImage(self.pixels[_part(x, y, width, height, self.pixels.shape)])

    def rgb(self) -> Pixels:
        """The picture itself, (H, W, 3) uint8 RGB, not copied."""
        return self.pixels


Image: TypeAlias = I420Image | NV12Image | RgbImage


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    number       0-based index in the source; a skipped frame keeps its number, so numbers may have gaps
    time_s       capture time in seconds since the source began, strictly increasing within a source
    captured_at  capture time, aware UTC: what the recording says, else when the source was opened, + time_s
    mono_ns      time.monotonic_ns() when the frame came out of the source, to measure latency by
    name         the file's name (video or image), or what the source calls itself
    pose         where the camera was and how it looked; None without credible telemetry of that moment
    captured_mono_ns  time.monotonic_ns() at the capture, where a live source knows it; None: as `mono_ns`
    read_s       CPU time of the source's thread for reading and decoding it, seconds, without that of a
                 decoder's own threads; 0 where nobody measured it
    """

    image: Image
    number: int
    time_s: float
    captured_at: datetime
    mono_ns: int
    name: str
    pose: Pose | None = None
    captured_mono_ns: int | None = None
    read_s: float = 0.0

    @property
    def width(self) -> int:
        """Columns of the picture, pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """Rows of the picture, pixels."""
        return self.image.height
