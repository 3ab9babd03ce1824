"""ONNX Runtime's GPU providers: refused where they are missing, never quietly replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.bundle.load import Bundle
from edge.engines import create_image_engine, onnxruntime_gpu
from edge.engines.onnxruntime_gpu import tensorrt_options
from firmware_cfg.errors import EngineError

PROVIDERS = {
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}


@pytest.mark.parametrize(("name", "provider"), PROVIDERS.items())
def test_a_runtime_without_the_provider_is_refused(tiny_bundle: Bundle, name: str, provider: str) -> None:
    if provider in onnxruntime_gpu.onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {provider}")
    with pytest.raises(EngineError, match=rf"{name}: this onnxruntime .* has no {provider}.*onnxruntime-gpu"):
        create_image_engine(tiny_bundle, name)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize(("name", "provider"), PROVIDERS.items())
def test_a_provider_that_does_not_start_is_no_engine(
    tiny_bundle: Bundle, name: str, provider: str, monkeypatch: Any, tmp_path: Path
) -> None:
    """The runtime would warn and compute on the processor: a drone of a quarter of its speed."""
    if provider in onnxruntime_gpu.onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {provider}")
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(onnxruntime_gpu.onnxruntime, "get_available_providers", lambda: [provider])
    with pytest.raises(EngineError, match=rf"image\.onnx: onnxruntime could not start its {provider}"):
        create_image_engine(tiny_bundle, name)


def test_the_provider_is_told_the_shapes_before_any_session_is_opened(
    tiny_bundle: Bundle, monkeypatch: Any, tmp_path: Path
) -> None:
    opened: list[Any] = []
    session = onnxruntime_gpu.onnxruntime.InferenceSession

    def watched(*arguments: Any, providers: Any, **others: Any) -> Any:
        opened.append(providers)
        return session(*arguments, providers=["CPUExecutionProvider"], **others)

    provider = PROVIDERS["onnxruntime-tensorrt"]
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(onnxruntime_gpu.onnxruntime, "get_available_providers", lambda: [provider])
    monkeypatch.setattr(onnxruntime_gpu.onnxruntime, "InferenceSession", watched)
    with pytest.raises(EngineError, match=f"could not start its {provider}"):
        create_image_engine(tiny_bundle, "onnxruntime-tensorrt")
    ((first, *_),) = opened
    assert first[0] == provider
    assert f"prompts:1x{tiny_bundle.manifest.row_width}," in first[1]["trt_profile_min_shapes"]


def test_kept_engines_never_serve_another_graph_or_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    graph = tmp_path / "image.onnx"
    graph.write_bytes(b"trained once")
    first = tensorrt_options(graph, "fp16", (640, 384), 272)
    assert first["trt_profile_min_shapes"] == "image:1x384x640x3,prompts:1x272,bias:1"
    assert first["trt_profile_max_shapes"] == "image:4x384x640x3,prompts:256x272,bias:256"
    assert (first["trt_fp16_enable"], first.get("trt_int8_enable")) == ("1", None)
    other_size = tensorrt_options(graph, "fp16", (384, 640), 272)
    graph.write_bytes(b"trained again")
    retrained = tensorrt_options(graph, "fp16", (640, 384), 272)
    folders = {found["trt_engine_cache_path"] for found in (first, other_size, retrained)}
    assert len(folders) == 3
    assert all(Path(folder).is_dir() for folder in folders)
