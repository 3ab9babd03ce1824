"""Ahead-of-time proof that a target's builder takes a bundle's graphs, with no GPU at hand."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from edge.bundle.load import Bundle
from edge.bundle.manifest import Precision
from edge.engines.tensorrt.build import BuildOptions, build_plan
from edge.engines.tensorrt.library import Library
from edge.engines.tensorrt.progress import shown_progress

TARGET = "sm86"
"""Ampere, as Orin is (sm_87, which only TensorRT itself on the device builds for)."""
_PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")


@dataclass(frozen=True, slots=True)
class AheadBuild:
    """One graph that was built: its precision, by what for which GPU, the plan's bytes and the seconds."""

    precision: Precision
    library: str
    target: str
    plan_bytes: int
    seconds: float


def compile_ahead(bundle: Bundle, library: Library, console: Console) -> tuple[AheadBuild, ...]:
    """Compile the bundle's fp16 and int8 graphs for TARGET; the plans are thrown away.

    An engine is built on the device that flies it. What is proved here is that the graphs parse, type and
    compile. library: tensorrt_rtx. Raises EngineError where it refuses a graph.
    """
    console.print(f"building ahead of time with {library} for {TARGET}")
    size = bundle.manifest.image_sizes[0]
    found = []
    for precision in _PRECISIONS:
        graph = bundle.file(bundle.manifest.variants[precision])
        with shown_progress(f"{precision} {size[0]}x{size[1]} for {TARGET}") as on_progress:
            built = build_plan(
                library, graph, precision, BuildOptions(size, targets=(TARGET,)), on_progress=on_progress
            )
        found.append(AheadBuild(precision, str(library), TARGET, len(built.data), round(built.seconds, 1)))
    return tuple(found)
