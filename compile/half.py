"""Half precision: weights stored as float16, and the variant that also computes in it.

Precision lives in the graph, not in a builder's flags: TensorRT 11 knows no other way, and a graph that
states its types means the same on every engine.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compile.graph_file import copy_of
from firmware_cfg.errors import RemoteclipError

_SMALLEST = 64  # elements: what is not larger stays float32 where a graph computes in float32
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Inputs whose type is no matter of precision: the sizes and scales of Resize are float32 by its definition.
_ALWAYS_FLOAT = {"Resize": (1, 2)}


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store float32 initializers of more than 64 elements as float16, widened by a Cast in the graph.

    Every runtime folds the Cast when it loads the graph. Changes and returns the model. Raises
    RemoteclipError where float16 cannot hold a weight.
    """
    casts = []
    for initializer in model.graph.initializer:
        if not _is_large_float(initializer):
            continue
        name = initializer.name
        initializer.CopyFrom(_halved(initializer))
        casts.append(
            helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_widen", to=TensorProto.FLOAT)
        )
    _set_nodes(model, [*casts, *model.graph.node])
    return model


def widen_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Undo `halve_weights`: float32 initializers, as quantizers want them. Changes and returns the model."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        tensor = stored.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None or tensor.data_type != TensorProto.FLOAT16:
            kept.append(node)
            continue
        wide = numpy_helper.to_array(tensor).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(wide, node.output[0]))
    _set_nodes(model, kept)
    read = {name for node in kept for name in node.input}
    used = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(used)
    return model


def halve_body(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float32 graph that computes in float16 up to and with its last products with weights.

    What follows them (unit length, logits, peaks, boxes) stays float32, and so do the graph's inputs and
    outputs: the sum of squares of an embedding and a box of 1,000 pixels are what float16 is too coarse for.
    The result is strongly typed: every change of type is a Cast in the graph. Raises RemoteclipError where
    float16 cannot hold a weight.
    """
    model = copy_of(model)
    graph = model.graph
    body = _body(graph)
    floats = _float_values(model)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    made: dict[str, onnx.TensorProto] = {}
    inner = {name for node in body for name in node.output if name in floats}
    nodes: list[onnx.NodeProto] = []
    inside = {id(node) for node in body}
    outer = {name for node in graph.node if id(node) not in inside for name in node.input}
    outer |= {value.name for value in graph.output}
    for node in graph.node:
        nodes.append(node)
        if id(node) not in inside:
            continue
        for position, name in enumerate(node.input):
            if name not in floats or position in _ALWAYS_FLOAT.get(node.op_type, ()):
                continue
            if name in stored:
                made.setdefault(name, _halved(stored[name]))
            elif name not in inner:
                raise RemoteclipError(f"{node.name}: reads {name}, which is not computed from the image")
            node.input[position] = f"{name}_half"
        _retype(node)
        for position, name in enumerate(node.output):
            if name not in inner:
                continue
            node.output[position] = f"{name}_half"
            if name in outer:
                nodes.append(
                    helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_widen", to=TensorProto.FLOAT)
                )
    _set_nodes(model, nodes)
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in (*graph.initializer, *made.values()) if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def _body(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that lead to a product with weights, and those products."""
    weights = {tensor.name for tensor in graph.initializer if _is_large_float(tensor)}
    wanted: set[str] = set()
    body: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output) or (
            node.op_type in _WEIGHTED and not weights.isdisjoint(node.input)
        ):
            body.append(node)
            wanted.update(node.input)
    return body


def _float_values(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 values of the graph."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    typed = (*graph.value_info, *graph.input, *graph.output)
    names = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _retype(node: onnx.NodeProto) -> None:
    """Make a node that states float32 itself state float16."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
            name = attribute.t.name
            attribute.t.CopyFrom(_halved(attribute.t))
            attribute.t.name = name


def _halved(tensor: onnx.TensorProto) -> onnx.TensorProto:
    array = numpy_helper.to_array(tensor)
    # "not <=" so that what is no number is refused too.
    if array.size and not np.abs(array).max() <= np.finfo(np.float16).max:
        raise RemoteclipError(
            f"{tensor.name}: weights beyond what float16 holds (did the training run diverge?)"
        )
    return numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}_half")


def _is_large_float(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and int(np.prod(tensor.dims)) > _SMALLEST


def _set_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    nodes = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
