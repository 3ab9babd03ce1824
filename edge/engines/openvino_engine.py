"""OpenVINO: the default engine on CPUs, x86 and ARM."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock
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
    Pending,
    TextEngine,
)
from edge.engines.checks import check_image_inputs, check_ports, check_text_inputs
from edge.engines.openvino_batch import OpenVinoBatch, Through, first_line
from edge.engines.openvino_import import openvino
from edge.files import cache_folder
from edge.leftovers import shrink
from edge.memory import give_back_freed
from edge.signals import use_ordinary_stack
from firmware_cfg.errors import EngineError

_log = logging.getLogger(__name__)
_DEVICE = "CPU"
_COMPILING = Lock()
"""OpenVINO sets the process's locale to C while it compiles: two at once put back what the other had set."""
MOST_CACHED_BYTES = 1 << 30
"""Of compiled graphs: each tile size that a prompt list asks for, and each bundle, leaves some megabytes."""


def image_engine(
    graph: Path, precision: str, image_size: tuple[int, int], threads: int | None
) -> ImageEngine:
    """Load the image graph for tiles of one size. Raises EngineError."""
    return OpenVinoImageEngine(graph, precision, image_size, threads)


def text_engine(graph: Path, threads: int | None) -> TextEngine:
    """Load the text graph. Raises EngineError."""
    return OpenVinoTextEngine(graph, threads)


class OpenVinoImageEngine:
    """The image graph at one static tile size, an image at a time; the number of prompts stays dynamic."""

    name = "openvino"

    def __init__(self, graph: Path, precision: str, image_size: tuple[int, int], threads: int | None) -> None:
        self.precision = precision
        self.image_size = image_size
        width, height = image_size
        model = _read(graph)
        check_ports(graph, "input", _names(model.inputs), IMAGE_INPUTS)
        check_ports(graph, "output", _names(model.outputs), IMAGE_OUTPUTS)
        row = model.input("prompts").get_partial_shape()[1]
        self._row_width: int | None = row.get_length() if row.is_static else None
        try:
            # A static tile lets the runtime plan its memory once; a batch of one is the fastest a CPU gets.
            model.reshape(
                {
                    "image": openvino.PartialShape([1, height, width, 3]),
                    "prompts": openvino.PartialShape(
                        [-1, -1 if self._row_width is None else self._row_width]
                    ),
                    "bias": openvino.PartialShape([-1]),
                }
            )
        except RuntimeError as error:
            raise EngineError(f"{graph}: no tiles of {width}x{height}: {first_line(error)}") from error
        compiled = _compile(model, graph, threads)
        through = Through()
        self._batches = [OpenVinoBatch(compiled, through) for _ in range(2)]  # that many may be under way
        self._started = 0

    def start(self, image: U8, prompts: F32, bias: F32) -> Pending:
        """See ImageEngine.start."""
        if not self._batches:
            raise EngineError("this engine is closed")
        check_image_inputs(image, prompts, bias, self.image_size, self._row_width)
        batch = self._batches[self._started % len(self._batches)]
        self._started += 1
        return batch.start(image, prompts, bias)

    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """See ImageEngine.infer."""
        return self.start(image, prompts, bias).result().copy()

    def close(self) -> None:
        """See ImageEngine.close."""
        batches, self._batches = self._batches, []
        for batch in batches:
            batch.wait()


class OpenVinoTextEngine:
    """The text graph, any batch and length."""

    name = "openvino"

    def __init__(self, graph: Path, threads: int | None) -> None:
        model = _read(graph)
        check_ports(graph, "input", _names(model.inputs), TEXT_INPUTS)
        check_ports(graph, "output", _names(model.outputs), (TEXT_OUTPUT,))
        self._request: Any = _compile(model, graph, threads).create_infer_request()

    def encode(self, input_ids: I64, attention_mask: I64) -> F32:
        """See TextEngine.encode."""
        if self._request is None:
            raise EngineError("this engine is closed")
        check_text_inputs(input_ids, attention_mask)
        feed = {
            "input_ids": np.ascontiguousarray(input_ids),
            "attention_mask": np.ascontiguousarray(attention_mask),
        }
        return _infer(self._request, feed, (TEXT_OUTPUT,))[0]

    def close(self) -> None:
        """See TextEngine.close."""
        self._request = None


def _read(graph: Path) -> Any:
    try:
        return openvino.Core().read_model(str(graph))
    except RuntimeError as error:
        raise EngineError(f"{graph}: openvino cannot read it: {first_line(error)}") from error


def _compile(model: Any, graph: Path, threads: int | None) -> Any:
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # Precision lives in the graph. Left alone, the runtime would pick bfloat16 or float16 where the CPU
        # has them and quantize activations of int8 weights, each on some devices only and without a word.
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    core, folder = openvino.Core(), cache_folder("openvino")
    if folder is not None:
        core.set_property({"CACHE_DIR": str(folder)})
    with _COMPILING:
        try:
            compiled = core.compile_model(model, _DEVICE, config)
        except RuntimeError as error:
            raise EngineError(f"{graph}: openvino cannot compile it: {first_line(error)}") from error
        finally:
            use_ordinary_stack()
            give_back_freed()
        if folder is not None:
            shrink(folder, ".blob", MOST_CACHED_BYTES)
    return compiled


def _infer(request: Any, feed: dict[str, Any], outputs: tuple[str, ...]) -> list[F32]:
    try:
        # The arrays are the caller's and outlive this blocking call, so the runtime reads them in place.
        request.infer(feed, share_inputs=True)
        # Copies: the request overwrites its own tensors at the next frame.
        return [np.array(request.get_tensor(name).data, np.float32) for name in outputs]
    except RuntimeError as error:
        raise EngineError(f"openvino failed: {first_line(error)}") from error


def _names(ports: Any) -> set[str]:
    return {name for port in ports for name in port.get_names()}
