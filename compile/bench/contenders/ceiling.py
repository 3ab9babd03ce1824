"""What this machine can do at most: products of large matrices through OpenVINO, and copies of memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from compile.bench.contenders.base import LEAD, Samples
from compile.bench.contenders.ceilings import COPIED, COPY, FLOAT_PRODUCT, INT8_PRODUCT, SIDE
from compile.bench.spec import Setting
from edge.engines.openvino_import import openvino
from edge.system import usable_cores


class CeilingContender:
    """The products run as the engine's do: same runtime, same threads."""

    def __init__(self, setting: Setting, variant: str = "") -> None:
        """Compile both products. Raises EngineError without OpenVINO."""
        self._tasks: dict[str, Callable[[], object]] = {
            FLOAT_PRODUCT: _product(int8=False),
            INT8_PRODUCT: _product(int8=True),
            COPY: _copy(usable_cores()),
        }
        for call in self._tasks.values():
            call()

    def burst(self, task: str, frames: int) -> Samples:
        """See Contender; `frame` is one product or copy."""
        call = self._tasks[task]
        samples: Samples = {"frame": []}
        for number in range(LEAD + frames):
            began = time.perf_counter()
            call()
            if number >= LEAD:
                samples["frame"].append(time.perf_counter() - began)
        return samples

    def close(self) -> None:
        """See Contender."""


def _product(*, int8: bool) -> Callable[[], object]:
    """A call that multiplies two SIDE x SIDE matrices; int8 as the engine has it, on a grid of 255 levels."""
    opset: Any = openvino.opset13
    random = np.random.default_rng(0)
    constant = opset.constant(random.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32))
    given = opset.parameter([SIDE, SIDE], np.float32)
    left, right = given, constant
    if int8:
        left, right = _on_grid(opset, left), _on_grid(opset, right)
    product = opset.matmul(left, right, False, True)
    # What leaves the graph is small: writing it is no part of the product.
    small = opset.reduce_max(product, np.array([0, 1], np.int64))
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Model([small], [given])
    asked = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    asked.set_input_tensor(openvino.Tensor(random.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)))
    return lambda: asked.infer()


def _on_grid(opset: Any, node: Any) -> Any:
    low, high = np.float32(-1.0), np.float32(1.0)
    return opset.fake_quantize(node, low, high, low, high, 255)


def _copy(threads: int) -> Callable[[], object]:
    """A call that copies COPIED bytes, shared among so many threads."""
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    target[:] = 0  # the pages exist from here on
    ends = [COPIED * number // threads for number in range(threads + 1)]
    parts = [slice(start, end) for start, end in pairwise(ends)]

    def copy() -> None:
        others = [threading.Thread(target=np.copyto, args=(target[part], source[part])) for part in parts[1:]]
        for other in others:
            other.start()
        np.copyto(target[parts[0]], source[parts[0]])
        for other in others:
            other.join()

    return copy
