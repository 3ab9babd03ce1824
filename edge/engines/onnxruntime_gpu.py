"""ONNX Runtime on an NVIDIA GPU, where its build has the CUDA or TensorRT execution provider.

Slower to start and less checked than `tensorrt`; for machines that have onnxruntime-gpu and no pycuda.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge.engines.base import ImageEngine, TextEngine
from edge.engines.onnxruntime_engine import CPU, OnnxRuntimeImageEngine, Providers, text_engine
from edge.files import cache_folder, sha256_of_file
from firmware_cfg.errors import EngineError

# isort: split
import onnxruntime  # after the module that says what to install where it is missing

_PROVIDERS = {
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}
# As the tensorrt engine's: prompts change in flight, the tile does not.
_MOST_TILES, _MOST_PROMPTS, _TYPICAL_PROMPTS = 4, 256, 16


@dataclass(frozen=True, slots=True)
class GpuBackend:
    """The module-like thing that the factory asks for engines; `name` as in GPU_ENGINE_NAMES.

    `row_width` is the manifest's: the provider must know it before the graph is opened.
    """

    name: str
    row_width: int

    def image_engine(
        self, graph: Path, precision: str, image_size: tuple[int, int], threads: int | None
    ) -> ImageEngine:
        """Load the image graph for tiles of one size. Raises EngineError."""
        providers = _providers(self.name, graph, precision, image_size, self.row_width)
        return OnnxRuntimeImageEngine(
            graph, precision, image_size, threads, name=self.name, providers=providers
        )

    def text_engine(self, graph: Path, threads: int | None) -> TextEngine:
        """Load the text graph, on the processor. Raises EngineError."""
        return text_engine(graph, threads)


def backend(name: str, row_width: int) -> GpuBackend:
    """The backend of this name. Raises EngineError where this onnxruntime was built without its provider."""
    provider = _PROVIDERS[name]
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise EngineError(
            f"{name}: this onnxruntime {onnxruntime.__version__} has no {provider}, only"
            f" {', '.join(available)} (install onnxruntime-gpu in its place)"
        )
    return GpuBackend(name, row_width)


def _providers(
    name: str, graph: Path, precision: str, image_size: tuple[int, int], row_width: int
) -> Providers:
    """Providers with their options, the processor last for what the GPU does not take."""
    cuda = ("CUDAExecutionProvider", {"device_id": "0", "use_tf32": "0"})
    if name == "onnxruntime-cuda":
        return (cuda, *CPU)
    return (
        ("TensorrtExecutionProvider", tensorrt_options(graph, precision, image_size, row_width)),
        cuda,
        *CPU,
    )


def tensorrt_options(
    graph: Path, precision: str, image_size: tuple[int, int], row_width: int
) -> dict[str, str]:
    """Options of the TensorRT provider for tiles of (width, height) and rows of `row_width`.

    Its engines are kept in a folder of their own for every graph, size and version: the provider itself does
    not notice that a graph of the same name has other weights.
    """
    width, height = image_size

    def shapes(tiles: int, rows: int) -> str:
        return f"image:{tiles}x{height}x{width}x3,prompts:{rows}x{row_width},bias:{rows}"

    options = {
        "device_id": "0",
        "trt_profile_min_shapes": shapes(1, 1),
        "trt_profile_opt_shapes": shapes(1, _TYPICAL_PROMPTS),
        "trt_profile_max_shapes": shapes(_MOST_TILES, _MOST_PROMPTS),
    }
    # Before TensorRT 11 the provider's networks are weakly typed: what the graph asks for must be allowed.
    if precision != "fp32":
        options["trt_fp16_enable"] = "1"
    if precision == "int8":
        options["trt_int8_enable"] = "1"
    identity = f"{sha256_of_file(graph)} {width}x{height} {onnxruntime.__version__}"
    folder = cache_folder(f"onnxruntime-tensorrt/{hashlib.sha256(identity.encode()).hexdigest()[:24]}")
    if folder is not None:
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}
    return options
