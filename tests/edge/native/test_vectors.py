"""Every path to a tile, held to the table of vectors: here, under the sanitizers, on another processor."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import native
from edge.letterbox import letterbox_native, letterbox_opencv, letterbox_reference
from tests.edge.native.vectors import LAYOUTS, VECTORS, Vector, largest_difference, write

needs_native = pytest.mark.skipif(native.LETTERBOX is None, reason=f"native kernel {native.UNAVAILABLE}")

DRIVER_ONLY = ("-DREMOTECLIP_MODULE=OFF", "-DREMOTECLIP_DRIVER=ON", "-DREMOTECLIP_CUDA=OFF")
CROSS = "aarch64-linux-gnu-"


def output_of(*command: str | Path) -> str:
    """What a command that must succeed prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def build_driver(repository: Path, folder: Path, *options: str) -> Path:
    """driver.cpp with the kernels, built in the folder."""
    output_of("cmake", "-S", repository, "-B", folder, *DRIVER_ONLY, *options)
    output_of("cmake", "--build", folder, "--parallel", "2")
    return folder / "driver"


@pytest.fixture(scope="module")
def vectors_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole table, as the driver reads it."""
    path = tmp_path_factory.mktemp("vectors") / "vectors.bin"
    write(path)
    return path


@needs_native
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_kernel_equals_the_reference(vector: Vector) -> None:
    expected, place = vector.expected()
    for threads in (1, 3):
        tile, got_place = letterbox_native(vector.image(), *vector.tile, threads=threads)
        assert got_place == place
        assert largest_difference(tile, expected) <= 1


# Its YUV, which is rounded between its steps, is held to smooth pictures in test_letterbox.py.
@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector.layout == "rgb"], ids=lambda v: v.name
)
def test_opencv_equals_the_reference_on_rgb(vector: Vector) -> None:
    tile, place = letterbox_opencv(vector.image(), *vector.tile)
    assert place == vector.expected()[1]
    assert largest_difference(tile, vector.expected()[0]) <= 2


@needs_native
@settings(max_examples=120)
@given(
    layout=st.sampled_from(LAYOUTS),
    content=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    ratio=st.sampled_from((1, 2, 3, 4, 5, 6, 8)),
    more=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    stride=st.integers(0, 40),
    upside_down=st.booleans(),
    full_range=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_stride_equals_the_reference(
    layout: str, content: tuple[int, int], ratio: int, more: tuple[int, int], stride: int, upside_down: bool,
    full_range: bool, seed: int,
) -> None:  # fmt: skip
    size = (content[0] * ratio + more[0], content[1] * ratio + more[1])
    vector = Vector(layout, *size, content, "bt601", full_range, stride, upside_down, seed=seed)  # type: ignore[arg-type]
    expected, _ = letterbox_reference(vector.image(), *content)
    assert largest_difference(letterbox_native(vector.image(), *content)[0], expected) <= 1


@needs_native
def test_the_largest_and_smallest_sums_of_every_ratio_stay_white_and_black() -> None:
    from edge.frames import I420Image, RgbImage

    for ratio in (1, 2, 3, 4, 6, 8, 12, 16):
        side = 2 * ratio
        for grey in (0, 255):
            rgb = RgbImage(np.full((side, side, 3), grey, np.uint8))
            assert np.all(letterbox_native(rgb, 2, 2)[0] == grey)
            chroma = np.full((ratio, ratio), 128, np.uint8)
            yuv = I420Image(np.full((side, side), grey, np.uint8), chroma, chroma, "bt709", True)
            assert np.all(letterbox_native(yuv, 2, 2)[0] == grey)


def needs(*programs: str) -> None:
    """Skips where a program is absent, and names it."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (make cross installs what cross-compiling needs)")


@pytest.fixture(scope="module")
def sanitized(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver under the address and undefined behaviour sanitizers."""
    needs("cmake", "c++")
    return build_driver(repository, tmp_path_factory.mktemp("sanitized"), "-DREMOTECLIP_SANITIZE=ON")


def test_the_sanitizers_find_nothing(sanitized: Path, vectors_file: Path) -> None:
    assert f"{len(VECTORS)} vectors, 0 bad" in output_of(sanitized, vectors_file)


def test_the_sanitizers_would_find_a_read_beyond_a_plane(sanitized: Path, tmp_path: Path) -> None:
    """A frame that is said to be wider than its rows."""
    path = tmp_path / "short.bin"
    write(path, (Vector("rgb", 8, 8, (4, 4)),))
    data = bytearray(path.read_bytes())
    data[8 + 16 : 8 + 20] = (9).to_bytes(4, "little")  # a width of 9 where the rows hold 8
    path.write_bytes(data)
    done = subprocess.run([sanitized, path], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def test_another_processor_gives_the_same_tiles_with_its_vector_instructions(
    repository: Path, tmp_path: Path, vectors_file: Path
) -> None:
    needs("cmake", f"{CROSS}g++", f"{CROSS}objdump", "qemu-aarch64")
    toolchain = (
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={CROSS}g++",
    )
    driver = build_driver(repository, tmp_path, *toolchain)
    said = output_of("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", driver, vectors_file)
    assert f"{len(VECTORS)} vectors, 0 bad" in said
    objects = tmp_path / "CMakeFiles" / "kernels_baseline.dir" / "edge" / "native"
    # One instruction of each hot loop: sums of bytes, colours in 16 bits, interleaved bytes; weighted sums.
    for name, wanted in (("sums", ("uaddw", "smull", "st3")), ("rows", ("fmla", "scvtf"))):
        code = output_of(f"{CROSS}objdump", "-d", objects / f"{name}.cpp.o")
        for instruction in wanted:
            assert re.search(rf"\t{instruction}2?\t\{{?v\d+\.", code), (
                f"{name}.cpp is not vectorised: no {instruction}"
            )
