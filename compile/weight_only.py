"""Weight-only quantization of the text tower: the arithmetic stays float32.

Matrices take a quarter of the bytes (int8), the word table an eighth (see compile.codebook). Sentences are
encoded once and cached, so the time to widen the weights does not matter on the drone, the download does.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from compile.codebook import BLOCK, lookup_nodes, pack_table, table_tensors

_SMALLEST = 4096  # elements: smaller tensors stay float32
_LARGE_TABLE = 1 << 20  # elements of an embedding table from which four bits are worth their error
_Use = tuple[onnx.NodeProto, int]  # a node and which of its inputs the tensor is


def quantize_weights(model: onnx.ModelProto, four_bits: bool = True) -> onnx.ModelProto:
    """Replace large matrices by symmetric int8 and a float32 scale per output channel, or per embedding row.

    A matrix multiplied is widened by DequantizeLinear; of an embedding table only the gathered rows are,
    so the table stays small in memory. With `four_bits`, those of more than a million numbers take half of
    that. A matrix that is also used in another way stays float32. Changes and returns the model.
    """
    graph = model.graph
    uses: dict[str, list[_Use]] = defaultdict(list)
    for node in graph.node:
        for position, name in enumerate(node.input):
            uses[name].append((node, position))
    kept: list[onnx.TensorProto] = []
    widening: list[onnx.NodeProto] = []
    lookups: dict[str, list[onnx.NodeProto]] = {}  # by the output of the Gather that they replace
    for initializer in graph.initializer:
        name, found = initializer.name, uses[initializer.name]
        axes = {_channel_axis(use) for use in found} if _is_large(initializer) else {None}
        if len(axes) == 1 and (axis := next(iter(axes))) is not None:
            integer, scale = _symmetric(numpy_helper.to_array(initializer), axis)
            inputs = [f"{name}_int8", f"{name}_scale"]
            widening.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
        elif found and _is_large(initializer) and all(_is_row_lookup(use) for use in found):
            table = numpy_helper.to_array(initializer)
            if four_bits and table.size >= _LARGE_TABLE and table.shape[1] % BLOCK == 0:
                kept.extend(table_tensors(name, pack_table(table)))
                lookups |= {node.output[0]: lookup_nodes(node) for node, _ in found}
                continue
            integer, scale = _symmetric(table, 0)
            scale = scale[:, None]
            lookups |= {node.output[0]: _gather_rows(node) for node, _ in found}
        else:
            kept.append(initializer)
            continue
        kept.append(numpy_helper.from_array(integer, f"{name}_int8"))
        kept.append(numpy_helper.from_array(scale, f"{name}_scale"))
    nodes = [new for node in graph.node for new in lookups.get(next(iter(node.output), ""), [node])]
    del graph.node[:]
    graph.node.extend(widening + nodes)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return model


def _channel_axis(use: _Use) -> int | None:
    """Axis of the output channels where the use multiplies by the matrix from the right, else None."""
    node, position = use
    if node.op_type not in ("MatMul", "Gemm") or position != 1:
        return None
    return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1


def _is_row_lookup(use: _Use) -> bool:
    node, position = use
    return (
        node.op_type == "Gather"
        and position == 0
        and not any(a.name == "axis" and a.i for a in node.attribute)
    )


def _gather_rows(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    name, out = node.input[0], node.output[0]
    return [
        helper.make_node("Gather", [f"{name}_int8", node.input[1]], [f"{out}_int8"], axis=0),
        helper.make_node("Gather", [f"{name}_scale", node.input[1]], [f"{out}_scale"], axis=0),
        helper.make_node("Cast", [f"{out}_int8"], [f"{out}_wide"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}_wide", f"{out}_scale"], [out]),
    ]


def _symmetric(array: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 values in -127..127 and one scale along `axis`, by the largest magnitude."""
    others = tuple(i for i in range(array.ndim) if i != axis)
    scale = np.maximum(np.abs(array).max(axis=others), 1e-8) / 127
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    return np.rint(array / scale.reshape(shape)).astype(np.int8), scale.astype(np.float32)


def _is_large(initializer: onnx.TensorProto) -> bool:
    return (
        initializer.data_type == onnx.TensorProto.FLOAT
        and len(initializer.dims) == 2
        and int(np.prod(initializer.dims)) >= _SMALLEST
    )
