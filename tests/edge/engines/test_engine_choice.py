"""Engines are built on the device, gated, timed, and the faster one is kept; on the GPU of conftest."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from edge.bundle.golden import load_golden
from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.cli import app
from edge.engine_cache import EngineCache
from edge.engines import EngineOutput, create_image_engine
from edge.engines.base import IMAGE_OUTPUTS
from edge.engines.tensorrt.choose import EngineBuilder
from edge.engines.tensorrt.errors import OutOfMemory
from firmware_cfg.errors import EngineError

SIZE = (64, 64)


@pytest.fixture
def bundle(bundle_copy: Path, manifest_fields: dict[str, Any]) -> Bundle:
    """The tiny bundle with all three variants, the same graph under three names."""
    variants = {"fp32": "image.onnx", "fp16": "image.fp16.onnx", "int8": "image.int8.onnx"}
    for name in variants.values():
        (bundle_copy / name).write_bytes((bundle_copy / "image.onnx").read_bytes())
    write_manifest(bundle_copy, {**manifest_fields, "variants": variants})
    return load_bundle(bundle_copy)


def names(gpu: Any) -> list[str]:
    return [built.split()[0] for built in gpu.builds]


@pytest.mark.parametrize(("slow", "kept"), [("image.int8.onnx", "fp16"), ("image.fp16.onnx", "int8")])
def test_the_faster_one_is_kept_and_found_again(bundle: Bundle, gpu: Any, slow: str, kept: str) -> None:
    gpu.delay[slow] = 0.02
    with closing(create_image_engine(bundle, "tensorrt", image_size=SIZE)) as engine:
        assert engine.precision == kept
    assert names(gpu) == ["image.int8.onnx", "image.fp16.onnx"]
    gpu.delay.clear()
    with closing(create_image_engine(bundle, "tensorrt", image_size=SIZE)) as engine:
        assert engine.precision == kept
    assert len(gpu.builds) == 2


def test_a_faster_one_that_computes_something_else_is_not_kept(bundle: Bundle, gpu: Any) -> None:
    gpu.flaws["image.int8.onnx"] = 0.2
    gpu.delay["image.fp16.onnx"] = 0.01
    builder = EngineBuilder(bundle)
    choice = builder.choose(SIZE)
    assert choice.chosen == "fp16"
    problem = choice.candidates[0].problem
    assert "int8 64x64: the engine does not reproduce the golden vectors: scene differs by 0.2" in problem
    # Who asks for it by name is refused too, now and out of the cache.
    for _ in range(2):
        with pytest.raises(EngineError, match="does not reproduce the golden vectors"):
            create_image_engine(bundle, "tensorrt", "int8", SIZE)
    assert names(gpu).count("image.int8.onnx") == 1


@pytest.mark.parametrize("size", [SIZE, (160, 96)])
@pytest.mark.parametrize(("flaw", "replays"), [(0.2, True), (float("nan"), True), (0.0, False)])
def test_the_graph_that_flies_is_judged_too(
    bundle: Bundle, gpu: Any, size: tuple[int, int], flaw: float, replays: bool
) -> None:
    gpu.replay_flaw, gpu.replays = flaw, replays
    with pytest.raises(EngineError, match="golden vectors: run again, scene differs by"):
        create_image_engine(bundle, "tensorrt", "fp16", size)
    assert gpu.replayed


def test_more_golden_tiles_than_the_engine_takes_at_once_do_not_hide_the_graph(
    bundle: Bundle, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = load_golden(bundle)
    tiles = np.resize(np.arange(len(golden.image)), 5)
    expected = {name: getattr(golden.expected, name)[tiles] for name in IMAGE_OUTPUTS}
    many = replace(golden, image=golden.image[tiles], expected=EngineOutput(**expected))
    monkeypatch.setattr("edge.engines.tensorrt.choose.golden_at", lambda bundle, size: many)
    create_image_engine(bundle, "tensorrt", "fp16", SIZE).close()
    gpu.replay_flaw = 0.2
    with pytest.raises(EngineError, match="golden vectors: run again, scene differs by"):
        create_image_engine(bundle, "tensorrt", "int8", SIZE)


def test_where_nothing_passes_each_one_s_reason_is_told(bundle: Bundle, gpu: Any) -> None:
    gpu.flaws = {"image.int8.onnx": 0.2, "image.fp16.onnx": float("nan")}
    with pytest.raises(EngineError, match=r"int8 64x64: the engine .*; .*fp16 64x64: the engine ") as caught:
        create_image_engine(bundle, "tensorrt", image_size=SIZE)
    assert "\n" not in str(caught.value)


def test_an_engine_is_judged_at_the_size_that_flies(bundle: Bundle, gpu: Any) -> None:
    assert load_golden(bundle).image_size == SIZE
    gpu.flaws["image.int8.onnx"] = 0.2
    choice = EngineBuilder(bundle).choose((160, 96))
    assert choice.chosen == "fp16"
    assert choice.candidates[1].problem == ""
    assert "scene differs by 0.2" in choice.candidates[0].problem


def test_one_that_cannot_be_built_leaves_the_other(
    bundle_copy: Path, bundle: Bundle, manifest_fields: dict[str, Any], gpu: Any
) -> None:
    (bundle_copy / "image.int8.onnx").write_bytes(b"no graph")
    write_manifest(bundle_copy, {**manifest_fields, "variants": bundle.manifest.variants})
    choice = EngineBuilder(load_bundle(bundle_copy)).choose(SIZE)
    assert choice.chosen == "fp16"
    assert "image.int8.onnx: TensorRT 10.3.0 cannot parse it: Failed to parse" in choice.candidates[0].problem


def test_what_an_engine_depends_on_makes_it_stale(
    bundle_copy: Path, bundle: Bundle, manifest_fields: dict[str, Any], gpu: Any
) -> None:
    def fly(bundle: Bundle, **limits: Any) -> int:
        gpu.builds.clear()
        create_image_engine(bundle, "tensorrt", "fp16", SIZE, **limits).close()
        return len(gpu.builds)

    assert [fly(bundle), fly(bundle)] == [1, 0]
    gpu.driver.get_driver_version = lambda: 13000
    assert [fly(bundle), fly(bundle)] == [1, 0]
    gpu.api.__version__ = "10.16.1"
    assert fly(bundle) == 1
    gpu.driver.Device.get_attribute = staticmethod(lambda attribute: 16)  # a larger Orin of the same name
    assert fly(bundle) == 1
    assert [fly(bundle, workspace_mib=512), fly(bundle, workspace_mib=1024)] == [1, 0]
    assert fly(bundle) == 0  # an engine within a limit serves where there is none
    graph = onnx.load(bundle_copy / "image.fp16.onnx")
    graph.doc_string = "trained again"
    onnx.save(graph, bundle_copy / "image.fp16.onnx")
    write_manifest(bundle_copy, {**manifest_fields, "variants": bundle.manifest.variants})
    assert fly(load_bundle(bundle_copy)) == 1
    gpu.driver.get_driver_version = lambda: 12060
    gpu.api.__version__ = "10.3.0"
    gpu.driver.Device.get_attribute = staticmethod(lambda attribute: 8)
    assert fly(bundle) == 0  # the first one is still there: going back costs nothing


def test_a_damaged_plan_is_built_again(
    bundle: Bundle, gpu: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    create_image_engine(bundle, "tensorrt", "fp16", SIZE).close()
    (plan,) = (tmp_path / "cache" / "tensorrt").glob("*.plan")
    plan.write_bytes(plan.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        create_image_engine(bundle, "tensorrt", "fp16", SIZE).close()
    assert "damaged; the engine is built again" in caplog.text
    assert len(gpu.builds) == 2


def test_without_a_place_for_a_cache_it_flies_all_the_same(
    bundle: Bundle, gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path / "file"))
    with closing(create_image_engine(bundle, "tensorrt", image_size=SIZE)) as engine:
        assert engine.precision in ("fp16", "int8")
    assert len(gpu.builds) == 2  # and does not build again what it has just built


def test_an_old_tensorrt_that_cannot_build_by_types_builds_by_flags(
    bundle: Bundle, gpu: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.flags_only = True
    with caplog.at_level(logging.WARNING):
        create_image_engine(bundle, "tensorrt", "int8", SIZE).close()
    assert gpu.builds == ["image.int8.onnx ['fp16', 'int8']"]
    assert (
        "Could not find any implementation for node {Conv_7} (strongly typed; trying builder" in caplog.text
    )
    assert [record.typing for record in EngineCache().records()] == ["flags"]
    del gpu.api.BuilderFlag.FP16  # TensorRT 11
    with pytest.raises(
        EngineError, match=r"TensorRT 10\.3\.0 cannot build it: Error Code 10: Could not find"
    ):
        create_image_engine(bundle, "tensorrt", "fp16", SIZE)


def test_too_little_memory_for_a_build_is_told_apart(bundle: Bundle, gpu: Any) -> None:
    with pytest.raises(EngineError, match=r"too little memory to build it: .*set engine\.workspace_mib"):
        create_image_engine(bundle, "tensorrt", "fp16", SIZE, workspace_mib=16)
    assert issubclass(OutOfMemory, EngineError)
    assert not list(EngineCache().records())


def test_kernels_once_measured_are_kept_for_the_next_build(bundle: Bundle, gpu: Any, tmp_path: Path) -> None:
    builder = EngineBuilder(bundle)
    builder.choose(SIZE)
    (kept,) = (tmp_path / "cache" / "tensorrt").glob("*.timing")
    assert kept.read_bytes() == b"+1+1"
    kept.write_bytes(b"of another GPU")
    builder.choose((128, 64), ("fp16",))
    assert kept.read_bytes() == b"+1"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["engine", *arguments])
    return result.exit_code, result.stdout


def test_build_and_list_from_the_command_line(bundle: Bundle, gpu: Any) -> None:
    gpu.flaws["image.int8.onnx"] = 0.2
    code, out = run("build", str(bundle.path), "--image-size", "64x64", "--json")
    rows = {row["precision"]: row for row in json.loads(out)["engines"]}
    assert code == 0
    assert {name: row["kept"] for name, row in rows.items()} == {"int8": False, "fp16": True}
    assert "does not reproduce" in rows["int8"]["problem"]
    assert rows["fp16"]["latency_ms"]["p50"] > 0
    assert "kept" in run("build", str(bundle.path), "--image-size", "64x64")[1]
    assert len(gpu.builds) == 2
    run("build", str(bundle.path), "--image-size", "64x64", "--rebuild", "--precision", "fp16")
    assert len(gpu.builds) == 3
    code, out = run("list", "--json")
    states = {row["precision"]: row["state"] for row in json.loads(out)["engines"]}
    assert states["fp16"] == states["auto: fp16"] == "ok"
    assert states["int8"].startswith("scene differs")
    gpu.driver.get_driver_version = lambda: 13000
    assert "driver was 12.6, is 13.0" in run("list")[1]


def test_build_reads_the_device_file(bundle: Bundle, gpu: Any, tmp_path: Path) -> None:
    device = tmp_path / "device.yaml"
    device.write_text(
        f"device: orin-1\nsource: {{uri: demo}}\nbundle: {bundle.path}\n"
        "engine: {name: tensorrt, precision: fp16, image_size: [128, 64], workspace_mib: 512}\n"
    )
    code, out = run("build", "--device", str(device), "--json")
    assert code == 0
    assert [(row["size"], row["precision"]) for row in json.loads(out)["engines"]] == [("128x64", "fp16")]
    (record,) = EngineCache().records()
    assert record.workspace_mib == 512
    device.write_text(device.read_text() + f"require_signature: true\ntrusted_keys: [{tmp_path}/gone.pem]\n")
    assert run("build", "--device", str(device))[0] == 1
