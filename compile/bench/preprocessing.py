"""Preprocessing: a decoder's planes, or an RGB image, to the model tile, beside OpenCV and a plain copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np

from compile.bench.spec import Setting
from compile.bench.timing import Row, rows_of, take_turns
from edge.frames import I420Image, Image, NV12Image, RgbImage
from edge.letterbox import Letterbox, Tile, letterbox_native
from edge.native import LETTERBOX, UNAVAILABLE

FRAME_SIZES = ((1280, 720), (1920, 1080), (3840, 2160), (1440, 1080))
"""The last shrinks by no whole number, so that it takes the kernel's other way."""
TILE = (640, 384)


def rows(rounds: int, note: Callable[[str], None], setting: Setting) -> list[Row]:
    """Times of "native", "opencv" (convert and resize), "memcpy" (a copy of the planes), by layout and size.

    All have one thread, as in flight; "opencv, all cores" has as many as it takes.
    """
    if LETTERBOX is None:
        note(f"native preprocessing: {UNAVAILABLE}")
    tile = setting.image_size or TILE
    found: list[Row] = []
    for width, height in FRAME_SIZES:
        for layout, image in _images(width, height).items():
            contenders = _contenders(image, tile)
            task = f"{layout} {width}x{height} to {tile[0]}x{tile[1]}"
            # Its threads are set outside of what is timed: changing them ends a pool and starts another.
            with _opencv_threads(1):
                seconds = take_turns(contenders, rounds)
            with _opencv_threads(cv2.getNumberOfCPUs()):
                seconds |= take_turns({"opencv, all cores": contenders["opencv"]}, rounds)
            found += rows_of(task, seconds)
    return found


@contextmanager
def _opencv_threads(count: int) -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _images(width: int, height: int) -> dict[str, Image]:
    """The layouts of a picture; the planes of each lie in one piece, as OpenCV wants to convert them."""
    random = np.random.default_rng(0)
    planar = random.integers(16, 236, width * height * 3 // 2, dtype=np.uint8)
    luma, quarter = width * height, width * height // 4
    y, half = planar[:luma].reshape(height, width), (height // 2, width // 2)
    u, v = (planar[luma + part * quarter :][:quarter].reshape(half) for part in (0, 1))
    return {
        "I420": I420Image(y, u, v),
        "NV12": NV12Image(y, planar[luma:].reshape(*half, 2)),
        "RGB": RgbImage(random.integers(0, 256, (height, width, 3), dtype=np.uint8)),
    }


def _contenders(image: Image, tile_size: tuple[int, int]) -> dict[str, Callable[[], object]]:
    fit = Letterbox.fit(image.width, image.height, *tile_size)
    size = (fit.content_width, fit.content_height)
    tile: Tile = np.empty((*tile_size[::-1], 3), np.uint8)
    if isinstance(image, RgbImage):
        planes, conversion = image.pixels, None
    else:
        base = image.y.base
        assert isinstance(base, np.ndarray)
        planes = base.reshape(image.height * 3 // 2, image.width)
        nv12 = isinstance(image, NV12Image)
        conversion = cv2.COLOR_YUV2RGB_NV12 if nv12 else cv2.COLOR_YUV2RGB_I420
    copy = np.empty_like(planes)

    def opencv() -> None:
        pixels = planes if conversion is None else cv2.cvtColor(planes, conversion)
        content = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        tile[fit.pad_y : fit.pad_y + size[1], fit.pad_x : fit.pad_x + size[0]] = content

    calls: dict[str, Callable[[], object]] = {}
    if LETTERBOX is not None:
        calls["native"] = partial(letterbox_native, image, *tile_size, tile)
    return {**calls, "opencv": opencv, "memcpy": partial(np.copyto, copy, planes)}
