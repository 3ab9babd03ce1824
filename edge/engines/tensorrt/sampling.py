"""A frame's planes to tiles on the GPU: what the kernels of edge/native/preprocess.cu are launched with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import edge.native
from edge.frames import Image, NV12Image, RgbImage, rgb_from_yuv

if TYPE_CHECKING:
    from edge.tiling.windows import Window

KERNELS = "preprocess.fatbin"
#: Of frames and tiles, and windows in one launch: preprocess.hpp states both.
LARGEST_SIDE, MOST_WINDOWS = 32768, 32
#: Threads across and down; a warp makes 32 neighbours of one row, and so reads neighbouring samples.
BLOCK = (32, 8, 1)

PLANE = np.dtype([("data", "u8"), ("pitch", "i8")])
WINDOW = np.dtype(
    [(name, "i4") for name in ("x", "y", "width", "height", "left", "top", "content_width", "content_height")]
    + [("across_reciprocal", "u4"), ("down_reciprocal", "u4"), ("shrinks", "i4")]
)
LAUNCH = np.dtype(
    [
        ("tiles", "u8"),
        ("planes", PLANE, (3,)),
        ("colour", "f4", (3, 4)),
        ("width", "i4"),
        ("height", "i4"),
        ("windows", WINDOW, (MOST_WINDOWS,)),
    ]
)
"""The kernels' one parameter, as preprocess.hpp lays it out: no member needs padding before it."""

_ROW_ALIGNMENT = 128  # bytes of a cache line: a warp's row of samples begins in few of them
_AS_IT_IS = np.eye(3, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A frame's memory as the kernels know it.

    Attributes:
        kernel: the one for this kind of frame.
        planes: two-dimensional arrays of bytes, what is to be copied to the GPU.
        origins: of each of the three colours or of Y, U and V: the plane it is in, and its first byte there.
        colour: (3, 4), takes (first, second, third, 1) of the samples to RGB.
    """

    kernel: str
    planes: tuple[NDArray[np.uint8], ...]
    origins: tuple[tuple[int, int], ...]
    colour: NDArray[np.float64]


def samples_of(image: Image) -> Samples:
    """Where a frame's samples are. Nothing is copied, but for pixels or samples of a row that are apart."""
    if isinstance(image, RgbImage):
        return Samples("letterbox_rgb", (_rows(image.pixels),), ((0, 0), (0, 1), (0, 2)), _AS_IT_IS)
    colour = rgb_from_yuv(image.standard, image.full_range)
    if isinstance(image, NV12Image):
        return Samples("letterbox_nv12", (image.y, _rows(image.uv)), ((0, 0), (1, 0), (1, 1)), colour)
    return Samples("letterbox_i420", (image.y, image.u, image.v), ((0, 0), (1, 0), (2, 0)), colour)


def _rows(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, n) as (H, W * n): a view where the rows are dense, as decoders leave them."""
    return array.reshape(array.shape[0], -1)


def can_sample(image: Image, image_size: tuple[int, int]) -> bool:
    """Whether no side is too long for the kernels' whole numbers."""
    return max(image.width, image.height, *image_size) <= LARGEST_SIDE


@lru_cache(maxsize=64)
def window_record(window: Window) -> NDArray[np.void]:
    """A window as the kernels take it."""
    fit = window.fit
    across, down = (0xFFFFFFFF // side for side in (fit.content_width, fit.content_height))
    place = (fit.pad_x, fit.pad_y, fit.content_width, fit.content_height)
    record = (window.x, window.y, window.width, window.height, *place, across, down, fit.shrinks)
    return np.array(record, WINDOW)


def find_kernels() -> Path | None:
    """The compiled kernels, where the install could build them."""
    for folder in edge.native.__path__:
        if (path := Path(folder) / KERNELS).is_file():
            return path
    return None


class FrameSampler:
    """Frames' planes in GPU memory, and the kernels that make tiles of them. Lives in one CudaThread.

    The planes are gathered in page-locked memory and cross over in one asynchronous copy, on Jetson too (see
    docs/decisions/020-frames-on-the-gpu.md). Memory is taken when a larger frame comes, and kept.
    """

    def __init__(self, driver: Any, kernels: Path) -> None:
        """Load the kernels. Raises pycuda's errors: the GPU does not take them."""
        self._driver = driver
        self._module: Any = driver.module_from_file(str(kernels))
        self._functions: dict[str, Any] = {}
        self._host: Any = None
        self._device: Any = None
        self._samples: Samples | None = None
        self._launch = np.zeros((), LAUNCH)

    def upload(self, image: Image, stream: Any) -> None:
        """Enqueue the copy of a frame to the GPU; `render` then makes tiles of it.

        When this returns the frame's memory is not needed any more. What was enqueued for the frame before
        must be done. Raises pycuda's errors.
        """
        samples = samples_of(image)
        pitches = [-(-plane.shape[1] // _ROW_ALIGNMENT) * _ROW_ALIGNMENT for plane in samples.planes]
        sizes = [pitch * plane.shape[0] for pitch, plane in zip(pitches, samples.planes, strict=True)]
        self._reserve(sum(sizes))
        begin, begins = 0, []
        for plane, pitch, size in zip(samples.planes, pitches, sizes, strict=True):
            self._host[begin : begin + size].reshape(-1, pitch)[:, : plane.shape[1]] = plane
            begins.append(int(self._device) + begin)
            begin += size
        self._driver.memcpy_htod_async(self._device, self._host[:begin], stream)
        self._samples = samples
        self._launch["colour"] = samples.colour
        for index, (plane_index, first) in enumerate(samples.origins):
            self._launch["planes"][index] = (begins[plane_index] + first, pitches[plane_index])

    def render(self, windows: Sequence[Window], image_size: tuple[int, int], tiles: int, stream: Any) -> None:
        """Enqueue the making of the frame's tiles at the GPU address `tiles`.

        Args:
            windows: of the frame that was uploaded last.
            image_size: (width, height) of the tiles.

        Raises pycuda's errors.
        """
        assert self._samples is not None, "no frame was uploaded"
        width, height = image_size
        function = self._function(self._samples.kernel)
        launch = self._launch
        launch["width"], launch["height"] = image_size
        for start in range(0, len(windows), MOST_WINDOWS):
            part = windows[start : start + MOST_WINDOWS]
            launch["tiles"] = tiles + start * width * height * 3
            for index, window in enumerate(part):
                launch["windows"][index] = window_record(window)
            grid = (math.ceil(width / BLOCK[0]), math.ceil(height / BLOCK[1]), len(part))
            function.prepared_async_call(grid, BLOCK, stream, launch.tobytes())

    def free(self) -> None:
        """Give the memory and the kernels back. May be called twice."""
        self._give_back()
        self._functions, self._module, self._samples = {}, None, None

    def _function(self, name: str) -> Any:
        if name not in self._functions:
            # A string of bytes: pycuda knows no structs.
            self._functions[name] = self._module.get_function(name).prepare([f"{LAUNCH.itemsize}s"])
        return self._functions[name]

    def _reserve(self, size: int) -> None:
        if self._host is not None and self._host.nbytes >= size:
            return
        self._give_back()
        host = self._driver.pagelocked_empty(size, np.uint8)
        try:
            self._device = self._driver.mem_alloc(size)
        except self._driver.Error:
            host.base.free()
            raise
        self._host = host

    def _give_back(self) -> None:
        if self._host is None:
            return
        pinned, self._host = self._host.base, None
        self._device.free()
        self._device = None
        pinned.free()
