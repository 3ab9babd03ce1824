"""Weight-only int8 of the text tower: a quarter of the bytes, the arithmetic stays float32.

Sentences are encoded once and cached, so the time to widen the weights does not matter on the drone, the
download does.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_SMALLEST = 4096  # elements: smaller tensors stay float32


def quantize_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace large matrices by symmetric int8 and a float32 scale per output channel, or per embedding row.

    A matrix multiplied is widened by DequantizeLinear; of an embedding table only the gathered rows are
    widened, so the table stays int8 in memory.
    """
    initializers = {i.name: i for i in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    for node in model.graph.node:
        name = node.input[1] if node.op_type in ("MatMul", "Gemm") and len(node.input) > 1 else ""
        if name in initializers and _is_large(initializers[name]):
            if name not in done:
                axis = 0 if _is_transposed(node) else 1
                integer, scale = _symmetric(numpy_helper.to_array(initializers[name]), axis)
                _replace(model, name, integer, scale)
                nodes.append(
                    helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], axis=axis)
                )
                done.add(name)
            nodes.append(node)
        elif (
            node.op_type == "Gather"
            and node.input[0] in initializers
            and _is_large(initializers[node.input[0]])
        ):
            nodes += _gather_rows(model, node, numpy_helper.to_array(initializers[node.input[0]]))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _gather_rows(
    model: onnx.ModelProto, node: onnx.NodeProto, table: NDArray[np.float32]
) -> list[onnx.NodeProto]:
    name, out = node.input[0], node.output[0]
    integer, scale = _symmetric(table, 0)
    _replace(model, name, integer, scale[:, None])
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


def _replace(
    model: onnx.ModelProto, name: str, integer: NDArray[np.int8], scale: NDArray[np.float32]
) -> None:
    kept = [i for i in model.graph.initializer if i.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.append(numpy_helper.from_array(integer, f"{name}_int8"))
    model.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))


def _is_large(initializer: onnx.TensorProto) -> bool:
    return (
        initializer.data_type == onnx.TensorProto.FLOAT
        and len(initializer.dims) == 2
        and int(np.prod(initializer.dims)) >= _SMALLEST
    )


def _is_transposed(node: onnx.NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)
