"""TensorRT: NVIDIA GPUs, Jetson first. Engines are built on the device that flies them.

library -> build -> plan -> engine; `choose` puts them together, gates what comes out and keeps it in
`edge.engine_cache`. The graph decides the precision, never a flag, so that what was gated is what flies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.engines.base import ImageEngine

if TYPE_CHECKING:
    from edge.bundle.load import Bundle

__all__ = ["image_engine"]


def image_engine(
    bundle: Bundle, precision: str, image_size: tuple[int, int], workspace_mib: int | None = None
) -> ImageEngine:
    """Load a bundle's engine for tiles of one size; it is built where there is none, which takes minutes.

    Args:
        bundle: the verified bundle.
        precision: "fp32", "fp16", "int8", or "auto" for the fastest that reproduces the golden vectors here.
        image_size: (width, height).
        workspace_mib: most GPU memory for scratch, in MiB; default: TensorRT's.

    Raises:
        EngineError: no TensorRT or GPU that works, or no engine that passes. MissingExtra: no pycuda, say.
    """
    from edge.engines.tensorrt.choose import EngineBuilder

    return EngineBuilder(bundle, workspace_mib).load(precision, image_size)
