"""The least time that an image graph could take on a machine with measured ceilings."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class GraphWork:
    """What one pass through a graph cannot do without.

    operations  multiplications and additions of its convolutions and matrix products
    bytes       of its weights, inputs and outputs, each moved once
    """

    operations: float
    bytes: float

    def least_seconds(self, operations_per_s: float, bytes_per_s: float) -> float:
        """No pass is faster: computing and moving overlap at best."""
        return max(self.operations / operations_per_s, self.bytes / bytes_per_s)

    def as_json(self) -> dict[str, float]:
        """For the report."""
        return asdict(self)


def graph_work(graph: Path, image_size: tuple[int, int], prompts: int) -> GraphWork:
    """Count what the image graph does for one tile and so many prompt rows. Raises EngineError.

    Quantized weights count a byte a number, others as the file holds them.
    """
    from edge.engines.openvino_import import openvino
    from firmware_cfg.errors import EngineError

    width, height = image_size
    try:
        model = openvino.Core().read_model(str(graph))
        row = model.input("prompts").get_partial_shape()[1].get_length()
        model.reshape({"image": [1, height, width, 3], "prompts": [prompts, row], "bias": [prompts]})
    except RuntimeError as error:
        raise EngineError(f"{graph}: its work cannot be counted: {error}") from error
    operations = sum(_operations(node) for node in model.get_ops())
    weights = sum(_size(node) for node in model.get_ops() if node.get_type_name() == "Constant")
    moved = sum(
        _elements(port) * port.get_element_type().size
        for port in (*model.inputs, *model.outputs)
        if port.get_partial_shape().is_static
    )
    return GraphWork(float(operations), float(weights + moved))


def _operations(node: Any) -> int:
    kind = node.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul"):
        return 0
    output = node.output(0)
    if not output.get_partial_shape().is_static:
        return 0
    left, right = (node.input_value(number).get_partial_shape() for number in (0, 1))
    if kind == "MatMul":
        inner = left[-2 if node.get_attributes().get("transpose_a") else -1].get_length()
        return 2 * _elements(output) * int(inner)
    kernel = [length.get_length() for length in right]
    # (outputs, inputs, rows, columns), with the groups before them where there are any.
    per_output = math.prod(kernel[2 if kind == "GroupConvolution" else 1 :])
    return 2 * _elements(output) * int(per_output)


def _elements(port: Any) -> int:
    return math.prod(int(length.get_length()) for length in port.get_partial_shape())


def _size(node: Any) -> int:
    output = node.output(0)
    return _elements(output) * int(output.get_element_type().size)
