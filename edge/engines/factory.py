"""Engines by name. Only the module of the engine that is asked for gets imported, and with it its runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from edge.engines.base import ImageEngine, TextEngine
from edge.manifest import SIZE_MULTIPLE
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.bundle import Bundle

#: Engines that run on any processor.
ENGINE_NAMES = ("openvino", "onnxruntime")
#: Engines that need an NVIDIA GPU and its libraries.
GPU_ENGINE_NAMES = ("tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt")

# What "auto" means: the first of these that the bundle has. A bundle holds only variants that passed the
# accuracy gate, so the fast engine takes the fastest one, and the reference engine the most exact one.
_AUTO: Mapping[str, tuple[str, ...]] = {
    "openvino": ("int8", "fp32", "fp16"),
    "onnxruntime": ("fp32", "fp16", "int8"),
    # Kernels of ONNX Runtime for quantized graphs are few on CUDA; fp16 is fast on every GPU since 2018.
    "onnxruntime-cuda": ("fp16", "fp32", "int8"),
    "onnxruntime-tensorrt": ("fp16", "int8", "fp32"),
}


_TEXT_ENGINES: Mapping[str, str] = {
    "tensorrt": "openvino",
    "onnxruntime-cuda": "onnxruntime",
    "onnxruntime-tensorrt": "onnxruntime",
}


class _Backend(Protocol):
    """What a module of edge.engines offers."""

    def image_engine(
        self, graph: Path, precision: str, image_size: tuple[int, int], threads: int | None
    ) -> ImageEngine: ...

    def text_engine(self, graph: Path, threads: int | None) -> TextEngine: ...


def create_image_engine(
    bundle: Bundle,
    name: str = "openvino",
    precision: str = "auto",
    image_size: tuple[int, int] | None = None,
    threads: int | None = None,
    workspace_mib: int | None = None,
) -> ImageEngine:
    """Load a bundle's image graph.

    Args:
        bundle: the verified bundle.
        name: one of ENGINE_NAMES or GPU_ENGINE_NAMES.
        precision: "fp32", "fp16", "int8", or "auto" for the best variant of this bundle on this engine;
            on tensorrt that is the fastest one that reproduces the golden vectors on this device.
        image_size: (width, height) of the model tile, multiples of 32; default: the bundle's first.
        threads: CPU threads; default: the runtime's choice. GPU engines do without.
        workspace_mib: most GPU memory that TensorRT may use for scratch, in MiB; default: its own limit.

    Raises:
        EngineError: unknown engine, a variant that the bundle lacks, an impossible image size or number of
            threads, or the runtime refused the graph.
        MissingExtra: the engine's runtime is not installed.
    """
    width, height = size = image_size or bundle.manifest.image_sizes[0]
    if min(size) <= 0 or width % SIZE_MULTIPLE or height % SIZE_MULTIPLE:
        raise EngineError(
            f"image size {width}x{height}: both sides must be positive multiples of {SIZE_MULTIPLE}"
        )
    if name == "tensorrt":
        from edge.engines import tensorrt

        return tensorrt.image_engine(bundle, precision, size, workspace_mib)
    backend = _backend(name, bundle.manifest.row_width)
    variants: Mapping[str, str] = {str(key): file for key, file in bundle.manifest.variants.items()}
    wanted = _AUTO[name] if precision == "auto" else (precision,)
    chosen = next((variant for variant in wanted if variant in variants), None)
    if chosen is None:
        raise EngineError(
            f"{bundle.path}: no {precision} image graph in this bundle (choose auto or {', '.join(variants)})"
        )
    return backend.image_engine(bundle.file(variants[chosen]), chosen, size, _checked(threads))


def create_text_engine(bundle: Bundle, name: str = "openvino", threads: int | None = None) -> TextEngine:
    """Load a bundle's text graph. Arguments and errors as `create_image_engine`.

    Engines of the GPU leave it to their sibling on the processor: it runs once for every new sentence, and
    its int8 weights would have to be unpacked for the GPU.
    """
    backend = _backend(_TEXT_ENGINES.get(name, name), bundle.manifest.row_width)
    return backend.text_engine(bundle.text_graph, _checked(threads))


def _backend(name: str, row_width: int) -> _Backend:
    if name == "openvino":
        from edge.engines import openvino_engine

        return openvino_engine
    if name == "onnxruntime":
        from edge.engines import onnxruntime_engine

        return onnxruntime_engine
    if name in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        from edge.engines import onnxruntime_gpu

        return onnxruntime_gpu.backend(name, row_width)
    choices = ", ".join((*ENGINE_NAMES, *GPU_ENGINE_NAMES))
    raise EngineError(f"there is no engine {name!r} (choose one of {choices})")


def _checked(threads: int | None) -> int | None:
    if threads is not None and threads < 1:
        raise EngineError(f"threads must be at least 1, got {threads}")
    return threads
