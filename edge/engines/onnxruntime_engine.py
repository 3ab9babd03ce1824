"""ONNX Runtime: the reference that other engines are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge.engines.base import (
    F32,
    I64,
    IMAGE_INPUTS,
    IMAGE_OUTPUTS,
    TEXT_INPUTS,
    TEXT_OUTPUT,
    U8,
    EngineOutput,
    ImageEngine,
    StartsByInferring,
    TextEngine,
)
from edge.engines.checks import check_image_inputs, check_ports, check_text_inputs
from firmware_cfg.errors import EngineError, MissingExtra

try:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as _state
except ImportError as error:
    raise MissingExtra("onnxruntime", extra="onnxruntime") from error

#: Execution providers with their options, in the order of preference.
Providers = tuple[tuple[str, dict[str, str]], ...]
CPU: Providers = (("CPUExecutionProvider", {}),)

# The runtime has one exception class for each of its status codes, and no common base of its own.
_FAILURES: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(item for item in vars(_state).values() if isinstance(item, type) and issubclass(item, Exception)),
)


def image_engine(
    graph: Path, precision: str, image_size: tuple[int, int], threads: int | None
) -> ImageEngine:
    """Load the image graph for tiles of one size. Raises EngineError."""
    return OnnxRuntimeImageEngine(graph, precision, image_size, threads)


def text_engine(graph: Path, threads: int | None) -> TextEngine:
    """Load the text graph. Raises EngineError."""
    return OnnxRuntimeTextEngine(graph, threads)


class OnnxRuntimeImageEngine(StartsByInferring):
    """The image graph; the session takes any size, the engine holds callers to the one they asked for."""

    def __init__(
        self,
        graph: Path,
        precision: str,
        image_size: tuple[int, int],
        threads: int | None,
        *,
        name: str = "onnxruntime",
        providers: Providers = CPU,
    ) -> None:
        """Load the graph.

        `providers` is what runs it, the first of them before the others; `name` says so. Raises EngineError
        where the first one cannot be had: the session would quietly do without.
        """
        self.name = name
        self.precision = precision
        self.image_size = image_size
        self._session: Any = _open(graph, threads, IMAGE_INPUTS, IMAGE_OUTPUTS, providers)
        row = next(port.shape[1] for port in self._session.get_inputs() if port.name == "prompts")
        self.row_width: int | None = row if isinstance(row, int) else None

    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """See ImageEngine.infer."""
        if self._session is None:
            raise EngineError("this engine is closed")
        check_image_inputs(image, prompts, bias, self.image_size, self.row_width)
        feed = {"image": image, "prompts": prompts, "bias": bias}
        return EngineOutput(**dict(zip(IMAGE_OUTPUTS, _run(self._session, IMAGE_OUTPUTS, feed), strict=True)))

    def close(self) -> None:
        """See ImageEngine.close."""
        self._session = None


class OnnxRuntimeTextEngine:
    """The text graph, any batch and length."""

    name = "onnxruntime"

    def __init__(self, graph: Path, threads: int | None) -> None:
        self._session: Any = _open(graph, threads, TEXT_INPUTS, (TEXT_OUTPUT,))

    def encode(self, input_ids: I64, attention_mask: I64) -> F32:
        """See TextEngine.encode."""
        if self._session is None:
            raise EngineError("this engine is closed")
        check_text_inputs(input_ids, attention_mask)
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        return _run(self._session, (TEXT_OUTPUT,), feed)[0]

    def close(self) -> None:
        """See TextEngine.close."""
        self._session = None


def _open(
    graph: Path,
    threads: int | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    providers: Providers = CPU,
) -> Any:
    wanted = providers[0][0]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; its warnings concern whoever exported the graph
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=list(providers))
    except _FAILURES as error:
        raise EngineError(f"{graph}: onnxruntime cannot load it: {_one_line(error)}") from error
    if wanted not in session.get_providers():
        raise EngineError(
            f"{graph}: onnxruntime could not start its {wanted} (are CUDA and cuDNN installed?)"
        )
    check_ports(graph, "input", {port.name for port in session.get_inputs()}, inputs)
    check_ports(graph, "output", {port.name for port in session.get_outputs()}, outputs)
    return session


def _run(session: Any, outputs: tuple[str, ...], feed: dict[str, Any]) -> list[F32]:
    try:
        return [np.asarray(array, np.float32) for array in session.run(list(outputs), feed)]
    except _FAILURES as error:
        raise EngineError(f"onnxruntime failed: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
