"""The CUDA letterbox, compiled for the processor, equals the reference; and what nvcc makes of it."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.engines.tensorrt.cuda import CudaThread, load_driver
from edge.engines.tensorrt.memory import Port
from edge.engines.tensorrt.proof import open_sampler
from edge.engines.tensorrt.sampling import (
    BLOCK,
    LAUNCH,
    MOST_WINDOWS,
    FrameSampler,
    can_sample,
    samples_of,
    window_record,
)
from edge.frames import I420Image, Image, NV12Image, RgbImage
from edge.letterbox import Letterbox, letterbox_reference
from edge.tiling.windows import Window, tiles_for
from firmware_cfg.errors import EngineError, MissingExtra
from tests.edge.native.vectors import LAYOUTS, VECTORS, Layout

NATIVE = Path(__file__).parents[4] / "edge" / "native"

KINDS = ("i420", "nv12", "rgb")


def noise(chance: np.random.Generator, *shape: int, extra: int = 0, upside_down: bool = False) -> Any:
    """Random samples, in rows that are `extra` samples further apart than they need."""
    wide = chance.integers(0, 256, (shape[0], shape[1] + extra, *shape[2:]), np.uint8)
    return wide[:: -1 if upside_down else 1, : shape[1]]


def made(kind: str, width: int, height: int, seed: int = 0, **rows: Any) -> Image:
    """A noisy frame."""
    chance = np.random.default_rng(seed)
    if kind == "rgb":
        return RgbImage(noise(chance, height, width, 3, **rows))
    y, half = noise(chance, height, width, **rows), ((height + 1) // 2, (width + 1) // 2)
    standard: Any = ("bt601", "bt709")[seed % 2]
    full_range = seed % 4 < 2
    if kind == "nv12":
        return NV12Image(y, noise(chance, *half, 2, **rows), standard, full_range)
    u, v = (noise(chance, *half, **rows) for _ in range(2))
    return I420Image(y, u, v, standard, full_range)


def reference(image: Image, windows: Sequence[Window]) -> Any:
    """The tiles as numpy makes them."""
    return np.stack([letterbox_reference(w.of(image), w.fit.width, w.fit.height)[0] for w in windows])


def furthest(got: Any, expected: Any) -> int:
    return int(np.abs(got.astype(int) - expected.astype(int)).max())


@dataclass
class Sanitized:
    """Runs cases in a program under the address and undefined behaviour sanitizers, all in one process."""

    program: Path
    cases: list[bytes] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, image: Image, windows: Sequence[Window], tile: tuple[int, int]) -> None:
        """The planes go over as they lie in memory, no byte after the last sample."""
        samples, launch = samples_of(image), np.zeros((), LAUNCH)
        launch["colour"], (launch["width"], launch["height"]) = samples.colour, tile
        for index, window in enumerate(windows):
            launch["windows"][index] = window_record(window)
        memory, firsts = zip(*(_as_it_lies(plane) for plane in samples.planes), strict=True)
        sizes = [0, 0, 0]
        first_samples = [0, 0, 0]
        for index, (plane, first) in enumerate(samples.origins):
            launch["planes"][index]["pitch"] = samples.planes[plane].strides[0]
            first_samples[index] = firsts[plane] + first
            if plane not in [origin[0] for origin in samples.origins[:index]]:
                sizes[index] = len(memory[plane])
        grid = (-(-tile[0] // BLOCK[0]), -(-tile[1] // BLOCK[1]), len(windows))
        head = struct.pack("32s3I3I3Q3Q", samples.kernel.encode(), *grid, *BLOCK, *sizes, *first_samples)
        self.cases.append(head + launch.tobytes() + b"".join(memory))
        self.shapes.append((len(windows), tile[1], tile[0], 3))

    def tiles(self) -> list[Any]:
        """Of every case, in order."""
        ran = subprocess.run([self.program], input=b"".join(self.cases), capture_output=True)
        assert ran.returncode == 0, ran.stderr.decode()[-4000:]
        found, begin = [], 0
        for shape in self.shapes:
            count = int(np.prod(shape))
            found.append(np.frombuffer(ran.stdout, np.uint8, count, begin).reshape(shape))
            begin += count
        assert begin == len(ran.stdout)
        return found


def _as_it_lies(plane: Any) -> tuple[bytes, int]:
    """A plane's memory from its lowest to its highest sample, and where its first one is in there."""
    rows, columns = plane.shape
    if rows > 1 and plane.strides[0] < 0:
        return _as_it_lies(plane[::-1])[0], -plane.strides[0] * (rows - 1)
    size = plane.strides[0] * (rows - 1) + columns
    flat = np.lib.stride_tricks.as_strided(plane, (size,), (1,))
    return flat.tobytes(), 0


def whole(image: Image, tile: tuple[int, int]) -> tuple[Window, ...]:
    """The one window that is all of the frame."""
    return tiles_for(image.width, image.height, tile, "none").windows


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_pixel_of_every_vector_equals_the_reference_and_nothing_else_is_read(
    layout: Layout, emulator_program: Path
) -> None:
    cases, vectors = Sanitized(emulator_program), [vector for vector in VECTORS if vector.layout == layout]
    for vector in vectors:
        image = vector.image()
        cases.add(image, whole(image, vector.tile), vector.tile)
    for (got,), vector in zip(cases.tiles(), vectors, strict=True):
        assert furthest(got, vector.expected()[0]) <= 1, vector.name


@pytest.mark.parametrize("kind", KINDS)
def test_all_windows_of_a_frame_equal_the_reference(kind: str, emulator_program: Path) -> None:
    cases, expected = Sanitized(emulator_program), []
    for seed, (width, height, *tile) in enumerate(((319, 181, 96, 64), (63, 47, 96, 96), (150, 150, 33, 17))):
        image = made(kind, width, height, seed, extra=seed * 7)
        windows = tiles_for(width, height, (tile[0], tile[1]), (3, 2)).windows
        cases.add(image, windows, (tile[0], tile[1]))
        expected.append(reference(image, windows))
    for got, wanted in zip(cases.tiles(), expected, strict=True):
        assert furthest(got, wanted) <= 1, wanted.shape


@settings(max_examples=40)
@given(
    frame=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    corner=st.tuples(st.floats(0, 0.6), st.floats(0, 0.6)),
    extra=st.integers(0, 40),
    upside_down=st.booleans(),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 1000),
)
def test_any_shape_stride_and_window_equals_the_reference(
    emulator_program: Path,
    frame: tuple[int, int],
    tile: tuple[int, int],
    corner: tuple[float, float],
    extra: int,
    upside_down: bool,
    kind: str,
    seed: int,
) -> None:
    width, height = frame
    image = made(kind, width, height, seed, extra=extra, upside_down=upside_down)
    x, y = (int(part * side) // 2 * 2 for part, side in zip(corner, frame, strict=True))
    whole = Window(0, 0, Letterbox.fit(width, height, *tile))
    windows = (whole, Window(x, y, Letterbox.fit(width - x, height - y, *tile)))
    cases = Sanitized(emulator_program)
    cases.add(image, windows, tile)
    (got,) = cases.tiles()
    assert furthest(got, reference(image, windows)) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_sides_do_not_overflow(kind: str, emulator_program: Path) -> None:
    cases, expected = Sanitized(emulator_program), []
    for long, short, tile in ((32_768, 3, (640, 8)), (32_767, 1, (31, 2)), (20_001, 2, (1, 1))):
        image = made(kind, long, short, long)
        assert can_sample(image, tile)
        windows = tiles_for(long, short, tile, "none").windows
        cases.add(image, windows, tile)
        expected.append(reference(image, windows))
    for got, wanted in zip(cases.tiles(), expected, strict=True):
        assert furthest(got, wanted) <= 1, wanted.shape


def test_a_tile_of_the_longest_side_does_not_overflow(emulator_program: Path) -> None:
    image = made("i420", 1023, 1, 3)
    windows = tiles_for(1023, 1, (32_768, 4), "none").windows
    cases = Sanitized(emulator_program)
    cases.add(image, windows, (32_768, 4))
    assert furthest(cases.tiles()[0], reference(image, windows)) <= 1
    assert not can_sample(image, (32_769, 4))


def rendered(driver: Any, sampler: FrameSampler, image: Image, windows: tuple[Window, ...]) -> Any:
    """The tiles that the sampler makes, back on the host. To be called in the CUDA thread."""
    width, height = windows[0].fit.width, windows[0].fit.height
    shape, stream = (len(windows), height, width, 3), driver.Stream()
    port = Port(driver, shape, np.dtype(np.uint8))
    sampler.upload(image, stream)
    sampler.render(windows, (width, height), port.address, stream)
    port.view(shape)
    port.to_host(stream)
    stream.synchronize()
    got = port.view(shape).copy()
    port.free()
    return got


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_uploads_any_frame_and_makes_more_windows_than_one_launch_takes(
    kind: str, tile_kernels: Any
) -> None:
    driver = tile_kernels.driver
    with closing(CudaThread(driver)) as thread:
        sampler = thread.run(lambda: FrameSampler(driver, Path("preprocess.fatbin")))
        for width, height, columns in ((150, 90, 7), (41, 33, 1), (310, 170, 2)):
            image = made(kind, width, height, width, extra=5, upside_down=columns == 1)
            windows = tiles_for(width, height, (32, 32), (columns, 5)).windows
            got = thread.run(partial(rendered, driver, sampler, image, windows))
            assert furthest(got, reference(image, windows)) <= 1
        assert [grid[2] for _, grid in tile_kernels.launches] == [MOST_WINDOWS, 4, 6, 11]
        thread.run(sampler.free)
        thread.run(sampler.free)


def test_a_frame_in_rows_and_pixels_that_are_apart_is_gathered() -> None:
    image = RgbImage(made("rgb", 40, 30).rgb()[:, ::-1])
    (plane,) = samples_of(image).planes
    assert plane.shape == (30, 120)
    np.testing.assert_array_equal(plane[0, :3], image.pixels[0, 0])


def test_a_gpu_whose_kernels_are_wrong_makes_no_tiles(tile_kernels: Any, emulator: Any) -> None:
    class Wrong:
        """One grey level is rounding; this is not."""

        def emulate(self, name: bytes, data: bytes, grid: Any, block: Any) -> int:
            launch = np.frombuffer(data, LAUNCH).copy()
            launch["colour"][:, 1, 3] += 3
            return int(emulator.emulate(name, launch.tobytes(), grid, block))

    tile_kernels.emulator = Wrong()
    with closing(CudaThread(tile_kernels.driver)) as thread:
        sampler, why = thread.run(lambda: open_sampler(tile_kernels.driver))
    assert sampler is None
    assert why == "the tile kernels do not work on this GPU: I420Image 75x53: off by 3 grey levels"


def test_a_gpu_that_does_not_take_the_kernels_says_so(tile_kernels: Any) -> None:
    tile_kernels.emulator = None
    with closing(CudaThread(tile_kernels.driver)) as thread:
        sampler, why = thread.run(lambda: open_sampler(tile_kernels.driver))
    assert sampler is None
    assert why.startswith("this GPU or driver does not take the tile kernels: cuModuleLoad failed")


def test_a_real_gpu_equals_the_reference() -> None:
    """Runs where there is a GPU, pycuda and the kernels."""
    try:
        driver = load_driver()
    except (MissingExtra, EngineError) as error:
        pytest.skip(str(error))
    with closing(CudaThread(driver)) as thread:
        sampler, why = thread.run(lambda: open_sampler(driver))
        if sampler is None and "not built" in why:
            pytest.skip(why)
        assert sampler is not None, why
        for vector in VECTORS:
            image = vector.image()
            got = thread.run(partial(rendered, driver, sampler, image, whole(image, vector.tile)))
            assert furthest(got[0], vector.expected()[0]) <= 1, vector.name
        thread.run(sampler.free)


def test_nvcc_takes_the_kernels_and_no_register_is_spilled(nvcc: str, tmp_path: Path) -> None:
    command = [nvcc, "-std=c++17", "-O3", "-cubin", "-arch=sm_87", "-Xptxas", "-v", "-Werror", "all-warnings"]
    source = NATIVE / "preprocess.cu"
    made = subprocess.run(
        [*command, str(source), "-o", str(tmp_path / "k.cubin")], capture_output=True, text=True, check=True
    )
    kernels = re.findall(r"Compiling entry function '(\w+)' for 'sm_87'", made.stderr)
    assert sorted(kernels) == ["letterbox_i420", "letterbox_nv12", "letterbox_rgb"]
    spilled = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", made.stderr)
    assert spilled == [("0", "0")] * 3
