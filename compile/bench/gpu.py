"""The tile kernels of an NVIDIA GPU, against its memory bandwidth and against tiles made on the processor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from compile.bench.spec import Setting
from compile.bench.timing import WARM_UP, Row, rows_of, take_turns
from edge.engines.tensorrt.cuda import CudaThread, cuda_errors, load_driver
from edge.engines.tensorrt.memory import Port
from edge.engines.tensorrt.proof import open_sampler
from edge.engines.tensorrt.sampling import FrameSampler
from edge.frames import I420Image, Image, NV12Image, RgbImage
from edge.letterbox import letterbox
from edge.tiling.windows import tiles_for
from firmware_cfg.errors import EngineError, MissingExtra

if TYPE_CHECKING:
    from edge.tiling.windows import Window

FRAMES = ((1280, 720), (3840, 2160))
TILE = (640, 384)

#: Written between two timed runs, so that neither finds its bytes in the GPU's cache: more than any has.
_FLUSH_BYTES = 256 << 20


def rows(rounds: int, note: Callable[[str], None], setting: Setting) -> list[Row]:
    """Times of this machine's GPU; none, and a note that says why, where there is none or no kernel for it.

    Two tasks a frame:
    - "... on the GPU", GPU time by CUDA events. `kernel` makes the tile of planes that are in GPU memory;
      `memcpy` copies there half as many bytes as the kernel reads and writes, so that both move as many.
    - "... to GPU memory", wall time from the planes of a decoder to a tile there. `cpu` makes the tile on
      the processor and uploads it, `gpu` uploads the planes and runs the kernel.
    """
    try:
        driver = load_driver()
        with closing(CudaThread(driver)) as thread:
            return thread.run(partial(_all_rows, driver, rounds, note, setting.image_size or TILE))
    except (EngineError, MissingExtra) as error:
        note(f"GPU kernels: {error}")
        return []


def _all_rows(driver: Any, rounds: int, note: Callable[[str], None], tile: tuple[int, int]) -> list[Row]:
    sampler, why = open_sampler(driver)
    if sampler is None:
        note(f"GPU kernels: {why}")
        return []
    found: list[Row] = []
    with ExitStack() as stack, cuda_errors(driver, "the GPU's benchmark failed"):
        stack.callback(sampler.free)
        bench = _Bench(driver, sampler, stack, tile)
        for width, height in FRAMES:
            for kind, image in _frames(width, height):
                task = f"{kind} {width}x{height} to {tile[0]}x{tile[1]}"
                found += rows_of(f"{task} on the GPU", bench.on_gpu(image, rounds))
                found += rows_of(f"{task} to GPU memory", bench.to_gpu(image, rounds))
    return found


def _frames(width: int, height: int) -> list[tuple[str, Image]]:
    chance = np.random.default_rng(0)
    y = chance.integers(16, 236, (height, width), np.uint8)
    uv = chance.integers(16, 240, (height // 2, width // 2, 2), np.uint8)
    u, v = (np.ascontiguousarray(uv[..., channel]) for channel in range(2))
    pixels = chance.integers(0, 256, (height, width, 3), np.uint8)
    return [("I420", I420Image(y, u, v)), ("NV12", NV12Image(y, uv)), ("RGB", RgbImage(pixels))]


class _Bench:
    """The buffers that every frame is timed with. Lives in the CUDA thread; `stack` frees them."""

    def __init__(self, driver: Any, sampler: FrameSampler, stack: ExitStack, size: tuple[int, int]) -> None:
        self._driver, self._sampler, self._size = driver, sampler, size
        self._stream: Any = driver.Stream()
        self._tile = Port(driver, (1, *size[::-1], 3), np.dtype(np.uint8))
        stack.callback(self._tile.free)
        self._flush: Any = driver.mem_alloc(_FLUSH_BYTES)
        stack.callback(self._flush.free)

    def on_gpu(self, image: Image, rounds: int) -> dict[str, list[float]]:
        """GPU seconds of the kernel, and of a copy that moves as many bytes."""
        windows = tiles_for(image.width, image.height, self._size, "none").windows
        self._sampler.upload(image, self._stream)
        moved = _bytes_of(image) + self._size[0] * self._size[1] * 3
        source, target = int(self._flush), int(self._flush) + _FLUSH_BYTES // 2

        def copy() -> None:
            self._driver.memcpy_dtod_async(target, source, moved // 2, self._stream)

        contenders: dict[str, Callable[[], None]] = {"memcpy": copy, "kernel": partial(self._render, windows)}
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(WARM_UP + rounds):
            for name, call in contenders.items():
                seconds = self._gpu_seconds(call)
                if turn >= WARM_UP:
                    taken[name].append(seconds)
        return taken

    def to_gpu(self, image: Image, rounds: int) -> dict[str, Any]:
        """Seconds until the tile is in GPU memory, by who makes it."""
        windows = tiles_for(image.width, image.height, self._size, "none").windows

        def gpu() -> None:
            self._sampler.upload(image, self._stream)
            self._render(windows)
            self._stream.synchronize()

        def cpu() -> None:
            letterbox(image, *self._size, out=self._tile.view((*self._size[::-1], 3)))
            self._tile.to_device(self._stream)
            self._stream.synchronize()

        return dict(take_turns({"cpu": cpu, "gpu": gpu}, rounds))

    def _render(self, windows: tuple[Window, ...]) -> None:
        self._sampler.render(windows, self._size, self._tile.address, self._stream)

    def _gpu_seconds(self, call: Callable[[], None]) -> float:
        """Of what `call` enqueues. The flush before takes longer than the enqueuing, so no gap is timed."""
        self._driver.memset_d8_async(int(self._flush), 0, _FLUSH_BYTES, self._stream)
        began, ended = self._driver.Event(), self._driver.Event()
        began.record(self._stream)
        call()
        ended.record(self._stream)
        ended.synchronize()
        return float(began.time_till(ended)) * 1e-3


def _bytes_of(image: Image) -> int:
    if isinstance(image, RgbImage):
        return int(image.pixels.nbytes)
    return image.width * image.height * 3 // 2
