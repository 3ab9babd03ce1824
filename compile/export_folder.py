"""`remoteclip compile export`: a checkpoint's graphs in a folder, once both CPU engines reproduce torch."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from compile.export import HALF_IMAGE_GRAPH, IMAGE_GRAPH, IMAGE_WEIGHTS, export_image_graph
from compile.golden import TEXTS, golden_vectors
from compile.text_graph import run_text_graph, write_text_graph
from edge.bundle.golden import Golden, GoldenCheck, check_image_engine
from edge.bundle.manifest import Precision
from edge.engines import onnxruntime_engine, openvino_engine
from firmware_cfg.errors import BundleError, UsageError
from training.checkpoint import AnyCheckpoint, ClipCheckpoint
from training.folders import recover_folder, replace_folder
from training.torch_engine import model_facts

TEXT_GRAPH = "text.onnx"
GRAPHS: dict[Precision, str] = {"fp32": IMAGE_GRAPH, "fp16": HALF_IMAGE_GRAPH}
_FILES = {IMAGE_GRAPH, HALF_IMAGE_GRAPH, IMAGE_WEIGHTS, TEXT_GRAPH}
_LITE_TILE = (256, 256)  # what a light tower's graphs are tried at, which take any size


@dataclass(frozen=True, slots=True)
class Exported:
    """Graphs in a folder: bytes by file name, how engines did on golden vectors, the text graph's cosine."""

    sizes: dict[str, int]
    checks: tuple[GoldenCheck, ...]
    text_cosine: float


def export_checkpoint(
    checkpoint: AnyCheckpoint, out: Path, image_size: tuple[int, int] | None, console: Console
) -> Exported:
    """Write image.onnx, image.fp16.onnx, image.weights and text.onnx; `out` is replaced once they passed.

    image_size: see `image_graph`. Raises UsageError where `out` holds anything else, BundleError where an
    engine does not reproduce torch or the text tower lost too much, OSError from the disk.
    """
    out = out.absolute()
    recover_folder(out)
    if out.exists() and not (out.is_dir() and {file.name for file in out.iterdir()} <= _FILES):
        raise UsageError(
            f"{out}: holds something else than exported graphs (choose another folder with --out)"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        console.print("exporting the image graph in float32 and float16")
        export_image_graph(checkpoint, partial, image_size)
        console.print("exporting the text tower, its weights quantized")
        cosine = write_text_graph(checkpoint, partial / TEXT_GRAPH)
        text = run_text_graph(partial / TEXT_GRAPH, checkpoint, TEXTS)
        native = model_facts(checkpoint).image_sizes[0]
        tile = image_size or (native if isinstance(checkpoint, ClipCheckpoint) else _LITE_TILE)
        console.print("comparing openvino and onnxruntime with torch")
        checks = check_graphs(partial, golden_vectors(checkpoint, text, tile))
        if problems := [f"{c.engine} {c.precision}: {problem}" for c in checks for problem in c.problems]:
            raise BundleError(f"{out}: not written: {'; '.join(problems)}")
        partial.chmod(0o755)
        replace_folder(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Exported({file.name: file.stat().st_size for file in sorted(out.iterdir())}, checks, cosine)


def check_graphs(folder: Path, golden: Golden) -> tuple[GoldenCheck, ...]:
    """What both CPU engines make of golden vectors, with both graphs of a folder."""
    checks = []
    for precision, name in GRAPHS.items():
        for backend in (openvino_engine, onnxruntime_engine):
            engine = backend.image_engine(folder / name, precision, golden.image_size, None)
            checks.append(check_image_engine(engine, golden))
            engine.close()
    return tuple(checks)
