"""Engines by name. Only the module of the engine that is asked for gets imported, and with it its runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from edge.bundle.manifest import SIZE_MULTIPLE
from edge.engines.base import ImageEngine, TextEngine
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.bundle.load import Bundle

#: Engines that run on any processor.
ENGINE_NAMES = ("openvino", "onnxruntime")
#: Engines that need an NVIDIA GPU and its libraries.
GPU_ENGINE_NAMES = ("tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt")

# What "auto" means: the first of these that the bundle has and that did not fail its accuracy gate. So the
# fast engine takes the fastest one, and the reference engine the most exact one.
_AUTO: Mapping[str, tuple[str, ...]] = {
    "openvino": ("int8", "fp32", "fp16"),
    "onnxruntime": ("fp32", "fp16", "int8"),
    # Kernels of ONNX Runtime for quantized graphs are few on CUDA; fp16 is fast on every GPU since 2018.
    "onnxruntime-cuda": ("fp16", "fp32", "int8"),
    "onnxruntime-tensorrt": ("fp16", "int8", "fp32"),
}

# tensorrt times these against each other; fp32 only where there is neither.
_TIMED = ("int8", "fp16")

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
            on tensorrt that is the fastest one that reproduces the golden vectors on this device. A variant
            that failed the bundle's accuracy gate runs only when it is asked for by name.
        image_size: (width, height) of the model tile, multiples of 32; default: the bundle's first.
        threads: CPU threads; default: the runtime's choice. GPU engines do without.
        workspace_mib: most GPU memory that TensorRT may use for scratch, in MiB; default: its own limit.

    Raises:
        EngineError: unknown engine, a variant that the bundle lacks, "auto" where none passed its gate, an
            impossible image size or number of threads, or the runtime refused the graph.
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
    chosen = auto_precisions(bundle, name)[0] if precision == "auto" else precision
    if chosen not in variants:
        raise EngineError(
            f"{bundle.path}: no {precision} image graph in this bundle (choose auto or {', '.join(variants)})"
        )
    return backend.image_engine(bundle.file(variants[chosen]), chosen, size, _checked(threads))


def auto_precisions(bundle: Bundle, name: str) -> tuple[str, ...]:
    """The variants that "auto" stands for on engine `name`: all that tensorrt times, else the one it takes.

    Variants that failed their accuracy gate are never among them. Raises EngineError where no other is left.
    """
    variants = [str(variant) for variant in bundle.manifest.variants]
    failed = failed_gates(bundle)
    passed = [variant for variant in variants if variant not in failed]
    if not passed:
        raise EngineError(
            f"{bundle.path}: auto takes no variant that failed its accuracy gate, and all of this bundle did:"
            f" {', '.join(variants)} (name one with --precision or engine.precision, or compile it again)"
        )
    if name == "tensorrt":
        return tuple(variant for variant in _TIMED if variant in passed) or tuple(passed)
    return tuple(variant for variant in _AUTO[name] if variant in passed)[:1]


def failed_gates(bundle: Bundle) -> frozenset[str]:
    """The variants that lost too much accuracy when the bundle was made, and were let pass."""
    return frozenset(str(variant) for variant, gate in bundle.manifest.gates.items() if not gate.passed)


def text_engine_name(name: str) -> str:
    """The engine that runs the text graph where `name` runs the image graph."""
    return _TEXT_ENGINES.get(name, name)


def create_text_engine(bundle: Bundle, name: str = "openvino", threads: int | None = None) -> TextEngine:
    """Load a bundle's text graph. Arguments and errors as `create_image_engine`.

    Engines of the GPU leave it to their sibling on the processor: it runs once for every new sentence, and
    its int8 weights would have to be unpacked for the GPU.
    """
    backend = _backend(text_engine_name(name), bundle.manifest.row_width)
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
