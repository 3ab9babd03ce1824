"""The tile kernels asked for tiles that are known, on the GPU that is to fly, before they make its tiles."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from edge.engines.tensorrt.errors import one_line
from edge.engines.tensorrt.memory import Port
from edge.engines.tensorrt.sampling import FrameSampler, find_kernels
from edge.frames import I420Image, Image, NV12Image, RgbImage
from edge.letterbox import letterbox_reference
from edge.tiling.windows import Window, tiles_for

#: (width, height) of a tile, and of a frame that shrinks into it and one that grows; odd, so that chroma is.
_TILE, _FRAMES = (32, 32), ((75, 53), (19, 11))
#: The kernels add up in float32, the reference in float64.
_GREY_LEVELS = 1
#: What no pixel has unless a kernel leaves it: the padding is 114.
_POISON = 77


def open_sampler(driver: Any) -> tuple[FrameSampler | None, str]:
    """A sampler that works on this GPU, or None and why there is none. To be called in the CUDA thread."""
    kernels = find_kernels()
    if kernels is None:
        return None, "the GPU's tile kernels are not built (install again where nvcc is on the PATH)"
    try:
        sampler = FrameSampler(driver, kernels)
    except driver.Error as error:
        return None, f"this GPU or driver does not take the tile kernels: {one_line(error)}"
    with ExitStack() as undo:
        undo.callback(sampler.free)
        try:
            problem = _problem(driver, sampler)
        except driver.Error as error:
            problem = one_line(error)
        if problem:
            return None, f"the tile kernels do not work on this GPU: {problem}"
        undo.pop_all()
    return sampler, ""


def _problem(driver: Any, sampler: FrameSampler) -> str:
    stream = driver.Stream()
    for image in _images():
        windows = tiles_for(image.width, image.height, _TILE, (2, 1)).windows
        expected = np.stack([letterbox_reference(window.of(image), *_TILE)[0] for window in windows])
        port = Port(driver, expected.shape, expected.dtype)
        try:
            got = _rendered(sampler, image, windows, port, expected.shape, stream)
        finally:
            port.free()
        if (off := int(np.abs(got.astype(int) - expected).max())) > _GREY_LEVELS:
            return f"{type(image).__name__} {image.width}x{image.height}: off by {off} grey levels"
    return ""


def _rendered(
    sampler: FrameSampler,
    image: Image,
    windows: tuple[Window, ...],
    port: Port,
    shape: tuple[int, ...],
    stream: Any,
) -> Any:
    port.view(shape)[...] = _POISON
    port.to_device(stream)
    sampler.upload(image, stream)
    sampler.render(windows, _TILE, port.address, stream)
    port.to_host(stream)
    stream.synchronize()
    return port.view(shape).copy()


def _images() -> list[Image]:
    chance = np.random.default_rng(7)
    images: list[Image] = []
    for width, height in _FRAMES:
        y, pixels = (chance.integers(0, 256, (height, width, *n), np.uint8) for n in ((), (3,)))
        uv = chance.integers(0, 256, ((height + 1) // 2, (width + 1) // 2, 2), np.uint8)
        images += [I420Image(y, uv[..., 0], uv[..., 1]), NV12Image(y, uv, "bt601", True), RgbImage(pixels)]
    return images
