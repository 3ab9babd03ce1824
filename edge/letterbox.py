"""Frame to model tile: resampled into the middle of a uint8 RGB tile, and boxes back to the frame.

Area averaging where the frame shrinks, bilinear where it grows, padding of grey level 114. Three ways to the
same tile: the native kernel (YUV planes straight to the tile, no RGB frame in between), OpenCV where the
kernel is not built, and `letterbox_reference`, which states the arithmetic in numpy. The kernel equals the
reference within one grey level; OpenCV, which rounds between its steps, within about four.

When shrinking, each chroma sample covers its 2 x 2 luma samples, so that the result is the area average of
the frame's RGB image; when growing, chroma is interpolated on its own grid, centred between luma samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.frames import Image, NV12Image, RgbImage, rgb_from_yuv
from edge.native import LETTERBOX

PADDING = 114

Tile = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a frame lies in a tile. `scale` is tile pixels per frame pixel; pads are whole tile pixels."""

    frame_width: int
    frame_height: int
    width: int
    height: int
    scale: float
    pad_x: int
    pad_y: int

    @classmethod
    def fit(cls, frame_width: int, frame_height: int, width: int, height: int) -> Letterbox:
        """Largest centred placement that keeps the aspect ratio. ValueError on an empty frame or tile."""
        if min(frame_width, frame_height, width, height) < 1:
            raise ValueError(
                f"cannot letterbox a {frame_width} x {frame_height} frame into a {width} x {height} tile: "
                "every side must be at least 1"
            )
        scale = min(width / frame_width, height / frame_height)
        content_width = _content(frame_width, scale, width)
        content_height = _content(frame_height, scale, height)
        pad_x, pad_y = (width - content_width) // 2, (height - content_height) // 2
        return cls(frame_width, frame_height, width, height, scale, pad_x, pad_y)

    @property
    def content_width(self) -> int:
        """Width of the frame in the tile, in whole pixels."""
        return _content(self.frame_width, self.scale, self.width)

    @property
    def content_height(self) -> int:
        """Height of the frame in the tile, in whole pixels."""
        return _content(self.frame_height, self.scale, self.height)

    @property
    def shrinks(self) -> bool:
        """Whether frame pixels are averaged; otherwise they are interpolated."""
        return self.scale <= 1.0

    def holds(self, boxes: Boxes) -> npt.NDArray[np.bool_]:
        """(N,) whether the centres of boxes (N, 4) in tile pixels lie in the frame, not in the padding."""
        x, y = (boxes[:, 0] + boxes[:, 2]) * 0.5, (boxes[:, 1] + boxes[:, 3]) * 0.5
        across = (x >= self.pad_x) & (x < self.pad_x + self.content_width)
        return np.asarray(across & (y >= self.pad_y) & (y < self.pad_y + self.content_height))

    def to_frame(self, boxes: npt.ArrayLike) -> Boxes:
        """Boxes (N, 4) x1 y1 x2 y2 from tile pixels to frame pixels, clipped to the frame; float32."""
        step, offset = self._step_and_offset()
        moved = (_as_boxes(boxes) - offset) / step
        limit = np.array([self.frame_width, self.frame_height] * 2, np.float32)
        return np.asarray(np.clip(moved, np.float32(0.0), limit), np.float32)

    def to_tile(self, boxes: npt.ArrayLike) -> Boxes:
        """Boxes (N, 4) x1 y1 x2 y2 from frame pixels to tile pixels, not clipped; float32."""
        step, offset = self._step_and_offset()
        return np.asarray(_as_boxes(boxes) * step + offset, np.float32)

    def _step_and_offset(self) -> tuple[Boxes, Boxes]:
        # The content has whole pixels, so that each axis has a step of its own, a hair off `scale`.
        step_x, step_y = self.content_width / self.frame_width, self.content_height / self.frame_height
        return (
            np.array([step_x, step_y, step_x, step_y], np.float32),
            np.array([self.pad_x, self.pad_y, self.pad_x, self.pad_y], np.float32),
        )


def _content(frame: int, scale: float, limit: int) -> int:
    return min(limit, max(1, int(frame * scale + 0.5)))


def _as_boxes(boxes: npt.ArrayLike) -> Boxes:
    array = np.asarray(boxes, np.float32)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have the shape (N, 4), got {array.shape}")
    return array


def best_image_size(frame_width: int, frame_height: int, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The (width, height) among `sizes` that suits a frame.

    Sizes whose tile the frame fills at least 0.9 times as well as it fills the best one compete; the smallest
    of them that does not shrink the frame wins, else the largest. Raises ValueError when there is no size.
    """
    if not sizes:
        raise ValueError("there is no image size to choose from")
    fits = [Letterbox.fit(frame_width, frame_height, width, height) for width, height in sizes]
    fills = [fit.content_width * fit.content_height / (fit.width * fit.height) for fit in fits]
    good = [fit for fit, fill in zip(fits, fills, strict=True) if fill >= 0.9 * max(fills)]
    sharp = [fit for fit in good if fit.scale >= 1.0]
    chosen = min(sharp, key=_area) if sharp else max(good, key=_area)
    return chosen.width, chosen.height


def _area(fit: Letterbox) -> int:
    return fit.width * fit.height


def letterbox(image: Image, width: int, height: int, out: Tile | None = None) -> tuple[Tile, Letterbox]:
    """The image in the middle of a (height, width, 3) uint8 RGB tile, and where it lies.

    The tile is `out` where it is given, a contiguous array whose every pixel is written; else a new one. Uses
    the native kernel where it is built, else OpenCV.

    Raises ValueError when a side of the tile is below 1, or `out` is of another shape or type.
    """
    way = letterbox_native if LETTERBOX else letterbox_opencv
    return way(image, width, height, out)


def letterbox_native(
    image: Image, width: int, height: int, out: Tile | None = None, threads: int = 1
) -> tuple[Tile, Letterbox]:
    """`letterbox` by the native kernel, on 1 to 64 threads.

    One is the default: at 4K the memory is what limits it, and decoder and engine want the other cores.

    Raises RuntimeError when the kernel is not built, else as `letterbox`.
    """
    if LETTERBOX is None:
        raise RuntimeError("the native letterbox kernel is not built")
    fit = _fit(image, width, height)
    tile = _tile(fit, out)
    place = (fit.pad_x, fit.pad_y, fit.content_width, fit.content_height)
    if isinstance(image, RgbImage):
        LETTERBOX.rgb(_dense_rows(image.pixels), tile, *place, threads)
        return tile, fit
    colours = (image.standard == "bt709", image.full_range)
    if isinstance(image, NV12Image):
        LETTERBOX.nv12(_dense_rows(image.y), _dense_rows(image.uv), *colours, tile, *place, threads)
    else:
        planes = (_dense_rows(plane) for plane in (image.y, image.u, image.v))
        LETTERBOX.i420(*planes, *colours, tile, *place, threads)
    return tile, fit


def letterbox_opencv(
    image: Image, width: int, height: int, out: Tile | None = None
) -> tuple[Tile, Letterbox]:
    """`letterbox` by OpenCV."""
    import cv2

    fit = _fit(image, width, height)
    tile = _tile(fit, out)
    size = (fit.content_width, fit.content_height)
    how = cv2.INTER_AREA if fit.shrinks else cv2.INTER_LINEAR
    if isinstance(image, RgbImage):
        content = cv2.resize(image.pixels, size, interpolation=how)
    else:
        planes = (image.y, image.u, image.v)
        if fit.shrinks:
            chroma = (_repeat(plane, fit) for plane in planes[1:])
            yuv = cv2.resize(cv2.merge([image.y, *chroma]), size, interpolation=how)
        else:
            yuv = cv2.merge([cv2.resize(plane, size, interpolation=how) for plane in planes])
        content = cv2.transform(yuv, rgb_from_yuv(image.standard, image.full_range))
    return _placed(np.asarray(content, np.uint8), fit, tile), fit


def letterbox_reference(image: Image, width: int, height: int) -> tuple[Tile, Letterbox]:
    """`letterbox` in float64 numpy: slow, and what the other two are tested against."""
    fit = _fit(image, width, height)
    weights = area_weights if fit.shrinks else bilinear_weights

    def resampled(plane: npt.NDArray[Any], halved: int) -> npt.NDArray[np.float64]:
        rows = weights(plane.shape[0], fit.frame_height / halved, fit.content_height)
        columns = weights(plane.shape[1], fit.frame_width / halved, fit.content_width)
        return np.asarray(rows @ plane.astype(np.float64) @ columns.T)

    if isinstance(image, RgbImage):
        content = np.stack([resampled(image.pixels[..., channel], 1) for channel in range(3)], axis=-1)
    else:
        yuv = np.stack([resampled(image.y, 1), resampled(image.u, 2), resampled(image.v, 2)], axis=-1)
        matrix = rgb_from_yuv(image.standard, image.full_range)
        content = yuv @ matrix[:, :3].T + matrix[:, 3]
    return _placed(np.floor(np.clip(content, 0.0, 255.0) + 0.5).astype(np.uint8), fit, _tile(fit, None)), fit


def area_weights(samples: int, extent: float, length: int) -> npt.NDArray[np.float64]:
    """(length, samples) weights, rows of sum 1: how much of each result every unit-wide sample covers."""
    edges = np.minimum(np.arange(length + 1) * (extent / length), extent)
    low, high = edges[:-1, None], edges[1:, None]
    left = np.arange(samples)[None, :]
    overlap = np.clip(np.minimum(high, left + 1) - np.maximum(low, left), 0.0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))


def bilinear_weights(samples: int, extent: float, length: int) -> npt.NDArray[np.float64]:
    """(length, samples) weights, rows of sum 1: linear between sample centres, constant outside."""
    centres = (np.arange(length) + 0.5) * (extent / length) - 0.5
    distance = np.clip(centres, 0, samples - 1)[:, None] - np.arange(samples)[None, :]
    return np.asarray(np.clip(1.0 - np.abs(distance), 0.0, None))


def _fit(image: Image, width: int, height: int) -> Letterbox:
    return Letterbox.fit(image.width, image.height, width, height)


def _dense_rows(array: Tile) -> Tile:
    """The array itself where the samples of a row are adjacent, as decoders leave them; else a copy."""
    dense = (1,) if array.ndim == 2 else (array.shape[2], 1)
    return array if array.strides[1:] == dense else np.ascontiguousarray(array)


def _repeat(plane: Tile, fit: Letterbox) -> Tile:
    doubled = np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1)
    return doubled[: fit.frame_height, : fit.frame_width]


def _tile(fit: Letterbox, out: Tile | None) -> Tile:
    shape = (fit.height, fit.width, 3)
    if out is None:
        return np.empty(shape, np.uint8)
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out must be a contiguous, writeable uint8 array of shape {shape}, "
            f"got {out.dtype} of shape {out.shape}"
        )
    return out


def _placed(content: Tile, fit: Letterbox, tile: Tile) -> Tile:
    tile.fill(PADDING)
    rows = slice(fit.pad_y, fit.pad_y + fit.content_height)
    tile[rows, fit.pad_x : fit.pad_x + fit.content_width] = content
    return tile
