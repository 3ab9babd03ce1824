"""Builds with the real TensorRT-RTX, for a GPU that is not here: parsing, refusing, stopping."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from edge.bundle.load import Bundle
from edge.cli import app
from edge.engines.tensorrt import library as library_module
from edge.engines.tensorrt.build import BuildOptions, build_plan
from edge.engines.tensorrt.errors import GraphRefused, is_out_of_memory
from edge.engines.tensorrt.library import RTX, Library, load_library
from edge.engines.tensorrt.options import profile_shapes
from edge.engines.tensorrt.progress import BuildTracker, logged_progress
from firmware_cfg.errors import EngineError, MissingExtra

OPTIONS = BuildOptions((64, 64), targets=("sm86",))


@pytest.fixture(scope="module")
def rtx() -> Library:
    try:
        return load_library(RTX)
    except MissingExtra as error:
        pytest.skip(str(error))


def test_a_plan_is_compiled_without_a_gpu_and_progress_only_grows(rtx: Library, tiny_bundle: Bundle) -> None:
    said: list[float] = []
    built = build_plan(
        rtx, tiny_bundle.file("image.onnx"), "fp32", OPTIONS, on_progress=lambda share, _: said.append(share)
    )
    assert len(built.data) > 10_000
    assert built.typing == "strong"
    assert said == sorted(said)
    assert said[-1] == 1.0
    assert any(0 < share < 1 for share in said)


def test_the_command_writes_the_plan(rtx: Library, tiny_bundle: Bundle, tmp_path: Path) -> None:
    plan = tmp_path / "tiny.plan"
    arguments = ["engine", "build", str(tiny_bundle.path), "--image-size", "64x64", "--aot", "sm86"]
    result = CliRunner().invoke(app, [*arguments, "--aot", "sm89", "-o", str(plan), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["precision"], report["targets"]) == ("fp32", ["sm86", "sm89"])
    assert plan.stat().st_size == report["bytes"]
    assert CliRunner().invoke(app, [*arguments]).exit_code == 2
    gone = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "gone" / "tiny.plan")])
    assert gone.exit_code == 1
    assert "cannot be written" in gone.stderr


def still_building() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "tensorrt-build" in thread.name]


def test_whoever_watches_can_stop_it(rtx: Library, tiny_bundle: Bundle) -> None:
    class Enough(Exception):
        pass

    calls: list[str] = []

    def watch(share: float, phase: str) -> None:
        calls.append(phase)
        raise Enough(phase)

    with pytest.raises(Enough, match="Building engine"):
        build_plan(rtx, tiny_bundle.file("image.onnx"), "fp32", OPTIONS, on_progress=watch)
    assert len(calls) == 1
    assert not still_building()


def test_ctrl_c_stops_the_build(rtx: Library, tiny_bundle: Bundle, monkeypatch: Any) -> None:
    """The main thread is interrupted while TensorRT works; no thread is left behind."""
    from edge.engines.tensorrt import build

    calls: list[float] = []

    class Interrupted(build.ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            future = super().submit(*arguments, **options)

            def result(timeout: float | None = None) -> Any:
                calls.append(time.monotonic())
                raise KeyboardInterrupt

            future.result = result  # type: ignore[method-assign]
            return future

    monkeypatch.setattr(build, "ThreadPoolExecutor", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_plan(rtx, tiny_bundle.file("image.onnx"), "fp32", OPTIONS)
    assert len(calls) == 1
    assert not still_building()


def saved(path: Path, nodes: list[Any], weights: list[Any] | None = None) -> Path:
    """A graph uint8 (1, 4) x -> y of these nodes."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT), *nodes],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights or [],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def test_a_refused_node_is_named_with_the_parser_s_words(rtx: Library, tmp_path: Path) -> None:
    mixed = saved(
        tmp_path / "mixed.onnx",
        [helper.make_node("Add", ["wide", "half"], ["y"], name="adder")],
        [numpy_helper.from_array(np.ones(4, np.float16), "half")],
    )
    with pytest.raises(GraphRefused, match=r"mixed\.onnx: TensorRT-RTX .* node adder \(Add\): .*") as caught:
        build_plan(rtx, mixed, "fp16", OPTIONS)
    (problem,) = caught.value.problems
    assert (problem.node, problem.operator) == ("adder", "Add")
    assert "must have same input types" in problem.message
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_graph_is_one_line(rtx: Library, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    with pytest.raises(GraphRefused, match=r"no\.onnx: TensorRT-RTX .* Failed to parse the ONNX model"):
        build_plan(rtx, tmp_path / "no.onnx", "fp32", OPTIONS)
    with pytest.raises(GraphRefused, match=r"gone\.onnx: .*cannot be found"):
        build_plan(rtx, tmp_path / "gone.onnx", "fp32", OPTIONS)


def test_another_graph_and_an_unknown_target_are_refused(rtx: Library, tiny_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"text\.onnx: the graph has no input image, prompts, bias"):
        build_plan(rtx, tiny_bundle.file("text.onnx"), "fp32", OPTIONS)
    with pytest.raises(EngineError, match=r"unknown target sm99 \(choose from sm75, sm80, sm86"):
        build_plan(rtx, tiny_bundle.file("image.onnx"), "fp32", BuildOptions((64, 64), targets=("sm99",)))


def test_a_build_that_failed_holds_no_builder_for_the_garbage_collector(
    rtx: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge.engines.tensorrt import build

    held: list[weakref.ref[Any]] = []

    class Noted(build._Build):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            held.append(weakref.ref(self))

    monkeypatch.setattr(build, "_Build", Noted)
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    gc.disable()
    try:
        with pytest.raises(GraphRefused):
            build_plan(rtx, tmp_path / "no.onnx", "fp32", OPTIONS)
        assert [reference() for reference in held] == [None] * len(held) != []
    finally:
        gc.enable()


SIDES = st.integers(1, 20).map(lambda side: 32 * side)


@given(width=SIDES, height=SIDES, batch=st.integers(1, 8), rows=st.integers(1, 256), fixed=st.booleans())
def test_profiles_hold_every_shape_that_may_come(
    width: int, height: int, batch: int, rows: int, fixed: bool
) -> None:
    options = BuildOptions((width, height), max_batch=batch, max_prompts=rows, typical_prompts=min(16, rows))
    shape = (-1, height, width, 3) if fixed else (-1, -1, -1, 3)
    shapes = profile_shapes("image", shape, options)
    assert shapes == ((1, height, width, 3), (1, height, width, 3), (batch, height, width, 3))
    low, tuned, high = profile_shapes("prompts", (-1, 272), options) or ((), (), ())
    assert (low, high) == ((1, 272), (rows, 272))
    assert low[0] <= tuned[0] <= high[0]


def test_a_graph_of_another_fixed_size_has_no_profile() -> None:
    options = BuildOptions((640, 384))
    assert profile_shapes("image", (-1, 224, 224, 3), options) is None
    assert profile_shapes("image", (2, 384, 640, 3), options) == ((2, 384, 640, 3),) * 3
    assert profile_shapes("prompts", (-1, -1), options) is None


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("10.3.0", True),
        ("10.16.1.11", True),
        ("11.4.1", True),
        ("10.2.0", False),
        ("8.6.1", False),
        ("12.0.0", False),
        ("unknown", False),
    ],
)
def test_versions_outside_of_10_3_to_11_are_refused(version: str, fits: bool, monkeypatch: Any) -> None:
    module = SimpleNamespace(__version__=version, Builder=object)
    monkeypatch.setattr(library_module, "_import", lambda name: module)
    if fits:
        assert load_library().version == version
    else:
        with pytest.raises(EngineError, match=rf"tensorrt {version} is not supported: it must be 10\.3"):
            load_library()


def test_a_missing_tensorrt_names_its_extra_or_jetpack(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(library_module, "_import", lambda name: None)
    with pytest.raises(MissingExtra, match=r"remoteclip-edge\[rtx\]"):
        load_library(RTX)
    with pytest.raises(MissingExtra, match=r"remoteclip-edge\[nvidia\]"):
        load_library()
    monkeypatch.setattr(library_module, "_JETSON", tmp_path)
    with pytest.raises(EngineError, match=r"apt-get install nvidia-jetpack.*--system-site-packages"):
        load_library()


def test_a_folder_of_stubs_is_no_tensorrt(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.pyi").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "tensorrt", raising=False)
    with pytest.raises((MissingExtra, EngineError)):
        load_library("tensorrt")


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 8388608 bytes.)", True),
        ("[checkMacros.cpp] Error Code 1: Cuda Runtime (out of memory)", True),
        ("Cuda Runtime (cudaError 2: out of memory)", True),
        ("Error Code 10: Internal Error (Could not find any implementation for node {Conv_7}.)", False),
        ("cudaError 35: CUDA driver version is insufficient for CUDA runtime version", False),
    ],
)
def test_exhausted_memory_is_told_from_other_errors(text: str, memory: bool) -> None:
    assert is_out_of_memory(text) is memory


def test_nested_phases_are_shares_of_the_whole() -> None:
    said: list[float] = []
    tracker = BuildTracker(lambda share, _: said.append(round(share, 4)))
    tracker.start("build", None, 4)
    tracker.step("build", 0)
    tracker.start("tactics", "build", 2)
    tracker.step("tactics", 0)
    tracker.start("orphan", "nobody", 1)
    tracker.step("orphan", 0)
    tracker.finish("tactics")
    tracker.step("build", 1)
    tracker.finish("build")
    assert said == [0.0, 0.25, 0.25, 0.375, 0.375, 0.375, 0.375, 0.5, 1.0]


def test_the_daemon_hears_of_every_quarter_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), logged_progress("lite fp16") as report:
        for share in (0.1, 0.26, 0.3, 0.8, 1.0):
            report(share, "Timing tactics")
    told = [record.getMessage() for record in caplog.records]
    assert [line for line in told if "%" in line] == [
        f"lite fp16: {share}% (Timing tactics)" for share in (25, 75, 100)
    ]
