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

ENGINE_NAMES = ("openvino", "onnxruntime")

# What "auto" means: the first of these that the bundle has. A bundle holds only variants that passed the
# accuracy gate, so the fast engine takes the fastest one, and the reference engine the most exact one.
_AUTO: Mapping[str, tuple[str, ...]] = {
    "openvino": ("int8", "fp32", "fp16"),
    "onnxruntime": ("fp32", "fp16", "int8"),
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
) -> ImageEngine:
    """Load a bundle's image graph.

    Args:
        bundle: the verified bundle.
        name: one of ENGINE_NAMES.
        precision: "fp32", "fp16", "int8", or "auto" for the best variant of this bundle on this engine.
        image_size: (width, height) of the model tile, multiples of 32; default: the bundle's first.
        threads: CPU threads; default: the runtime's choice.

    Raises:
        EngineError: unknown engine, a variant that the bundle lacks, an impossible image size or number of
            threads, or the runtime refused the graph.
        MissingExtra: the engine's runtime is not installed.
    """
    backend = _backend(name)
    variants: Mapping[str, str] = {str(key): file for key, file in bundle.manifest.variants.items()}
    wanted = _AUTO[name] if precision == "auto" else (precision,)
    chosen = next((variant for variant in wanted if variant in variants), None)
    if chosen is None:
        raise EngineError(
            f"{bundle.path}: no {precision} image graph in this bundle (choose auto or {', '.join(variants)})"
        )
    width, height = size = image_size or bundle.manifest.image_sizes[0]
    if min(size) <= 0 or width % SIZE_MULTIPLE or height % SIZE_MULTIPLE:
        raise EngineError(
            f"image size {width}x{height}: both sides must be positive multiples of {SIZE_MULTIPLE}"
        )
    return backend.image_engine(bundle.file(variants[chosen]), chosen, size, _checked(threads))


def create_text_engine(bundle: Bundle, name: str = "openvino", threads: int | None = None) -> TextEngine:
    """Load a bundle's text graph. Arguments and errors as `create_image_engine`."""
    return _backend(name).text_engine(bundle.text_graph, _checked(threads))


def _backend(name: str) -> _Backend:
    if name == "openvino":
        from edge.engines import openvino_engine

        return openvino_engine
    if name == "onnxruntime":
        from edge.engines import onnxruntime_engine

        return onnxruntime_engine
    raise EngineError(f"there is no engine {name!r} (choose one of {', '.join(ENGINE_NAMES)})")


def _checked(threads: int | None) -> int | None:
    if threads is not None and threads < 1:
        raise EngineError(f"threads must be at least 1, got {threads}")
    return threads
