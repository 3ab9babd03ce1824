"""What is told of the GPU's tile kernels: by `check --system`, by the benchmark, by the fat binary itself."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import compile.bench.gpu as bench
from compile.bench.spec import Setting
from edge import system
from edge.engines.tensorrt import sampling

NATIVE = Path(__file__).parents[4] / "edge" / "native"
SETTING = Setting("", "default", "", "")
PROJECT = f"""cmake_minimum_required(VERSION 3.18...3.31)
project(kernels LANGUAGES NONE)
include("{NATIVE}/preprocess.cmake")
"""


@pytest.fixture
def gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check --system` finds a trace of a GPU."""
    monkeypatch.setattr(system, "GPU_TRACES", (Path("/"),))


def test_a_gpu_that_makes_its_tiles_is_told(gpu_here: None, tile_kernels: Any) -> None:
    fact = system.gpu_tiles_fact()
    assert (fact.level, fact.value) == ("ok", "yes, its kernels equal the reference")
    assert not tile_kernels.living


def test_kernels_that_are_not_built_are_a_note_with_the_mend(gpu_here: None, gpu: Any) -> None:
    fact = system.gpu_tiles_fact()
    assert fact.level == "note"
    assert fact.value.startswith("the GPU's tile kernels are not built (install again where nvcc")
    assert "docs/jetson.md" in fact.mend


def test_a_missing_pycuda_is_named(gpu_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    fact = system.gpu_tiles_fact()
    assert fact.level == "note"
    assert "pycuda is not installed" in fact.value


@pytest.mark.parametrize(("there", "told"), [(True, "built"), (False, "not built")])
def test_without_a_gpu_only_the_file_is_looked_for(
    there: bool, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(system, "GPU_TRACES", (tmp_path / "no_gpu",))
    monkeypatch.setattr(sampling.edge.native, "__path__", [str(tmp_path / "a"), str(tmp_path)])
    if there:
        (tmp_path / "preprocess.fatbin").write_bytes(b"")
    fact = system.gpu_tiles_fact()
    assert (fact.level, fact.value) == ("ok", f"kernels {told}, no NVIDIA GPU here")


def test_the_benchmark_times_the_kernels_against_copies(
    tile_kernels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "FRAMES", ((96, 54),))
    monkeypatch.setattr(bench, "TILE", (64, 32))
    monkeypatch.setattr(bench, "_FLUSH_BYTES", 1 << 16)
    notes: list[str] = []
    rows = bench.rows(3, notes.append, SETTING)
    assert not notes
    tasks = [
        f"{kind} 96x54 to 64x32 {where}"
        for kind in ("I420", "NV12", "RGB")
        for where in ("on the GPU", "to GPU memory")
    ]
    assert list(dict.fromkeys(row.task for row in rows)) == tasks
    assert [row.contender for row in rows] == ["memcpy", "kernel", "cpu", "gpu"] * 3
    assert all(row.spread.n == 3 and row.spread.p50_ms > 0 for row in rows)
    assert not tile_kernels.living


def test_the_benchmark_says_why_it_timed_nothing(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    assert bench.rows(3, notes.append, SETTING) == []
    monkeypatch.setattr(gpu.driver.Device, "count", staticmethod(lambda: 0))
    assert bench.rows(3, notes.append, SETTING) == []
    built, there = notes
    assert built.startswith("GPU kernels: the GPU's tile kernels are not built")
    assert there.startswith("GPU kernels: there is no GPU that CUDA may use")


def configured(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What CMake says of the kernels alone."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs CMake (apt-get install cmake)")
    folder.mkdir(exist_ok=True)
    (folder / "CMakeLists.txt").write_text(PROJECT)
    command = [cmake, "-S", str(folder), "-B", str(folder / "build"), *options]
    return subprocess.run(command, capture_output=True, text=True)


def test_an_nvcc_that_does_not_work_ends_an_install_only_where_it_is_insisted_on(tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho 'unsupported GNU version'; exit 1\n")
    nvcc.chmod(0o755)
    broken = f"-DREMOTECLIP_NVCC={nvcc}"
    auto = configured(tmp_path / "auto", broken)
    assert auto.returncode == 0
    assert f"CUDA kernels: not built, {nvcc} does not work: unsupported GNU version" in auto.stdout
    insists = configured(tmp_path / "on", broken, "-DREMOTECLIP_CUDA=ON")
    assert insists.returncode != 0
    assert "REMOTECLIP_CUDA is ON, but" in insists.stderr
    off = configured(tmp_path / "off", broken, "-DREMOTECLIP_CUDA=OFF")
    assert off.returncode == 0
    assert "CUDA kernels" not in off.stdout


def test_the_fat_binary_holds_the_machine_code_and_ptx_that_the_toolkit_knows(
    nvcc: str, tmp_path: Path
) -> None:
    made = configured(tmp_path, f"-DREMOTECLIP_NVCC={nvcc}")
    assert made.returncode == 0, made.stderr
    subprocess.run([str(shutil.which("cmake")), "--build", str(tmp_path / "build")], check=True)
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    known = {int(line.removeprefix("compute_")) for line in listed.split()}
    found = list(parts_of((tmp_path / "build" / "preprocess.fatbin").read_bytes()))
    assert [arch for kind, arch in found if kind == "machine code"] == sorted({87, 90, 110} & known)
    assert [arch for kind, arch in found if kind == "PTX"] == [min(arch for arch in known if arch >= 75)]


def parts_of(fatbin: bytes) -> Iterator[tuple[str, int]]:
    """Kind and compute capability of each part, as `cuobjdump -lelf -lptx` lists them."""
    magic, _, header, size = struct.unpack_from("<IHHQ", fatbin)
    assert magic == 0xBA55ED50
    begin, end = header, header + size
    while begin < end:
        kind, _, header, size = struct.unpack_from("<HHIQ", fatbin, begin)
        yield {1: "PTX", 2: "machine code"}[kind], struct.unpack_from("<I", fatbin, begin + 28)[0]
        begin += header + size
