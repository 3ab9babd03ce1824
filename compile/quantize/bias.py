"""Biases that take back what rounded weights add on average.

A channel whose weights were rounded up answers too high to inputs that are never negative, as those after a
ReLU6 are: the next layers see a shift. The mean of a layer's input tells the shift, and the bias takes it
back at no cost (Nagel et al., "Data-Free Quantization", ICCV 2019, section 4.2).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from compile.graph_file import copy_of
from compile.quantize.images import CalibrationImages
from compile.quantize.layers import IMAGE, Body
from edge.engines.base import F32
from training.progress import track

_ENOUGH = 64  # images; means settle long before ranges do
_CORRECTED = "_corrected"


def mean_inputs(body: Body, images: CalibrationImages) -> dict[str, F32]:
    """Value name -> (C,) mean of each channel over images and places, of all that convolutions read.

    Raises DataError naming an image that cannot be read.
    """
    layers = set(body.layers)
    names = sorted(
        {node.input[0] for node in body.model.graph.node if node.name in layers and _corrects(node)}
    )
    if not names:
        return {}
    model = copy_of(body.model)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 3], np.int64), "mean_inputs_axes"))
    outputs = [f"{name}_mean" for name in names]
    for name, output in zip(names, outputs, strict=True):
        graph.node.append(helper.make_node("ReduceMean", [name, "mean_inputs_axes"], [output], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    paths = images.few(_ENOUGH).paths
    found = [
        session.run(outputs, {IMAGE: images.tile(path)})
        for path in track(paths, "measuring the means of activations")
    ]
    return {name: np.mean([row[i] for row in found], axis=0) for i, name in enumerate(names)}


def correct_biases(quantized: onnx.ModelProto, model: onnx.ModelProto, means: dict[str, F32]) -> None:
    """Give the int8 convolutions of a graph biases that take the mean shift back; changes `quantized`.

    model: the float32 graph that it was made from; means: see mean_inputs. Borders, where padding is read in
    place of the input, are not told apart.
    """
    exact = {tensor.name: tensor for tensor in model.graph.initializer}
    stored = {tensor.name: tensor for tensor in quantized.graph.initializer}
    before = {node.name: node for node in model.graph.node}
    made = {name: node for node in quantized.graph.node for name in node.output}
    for node in quantized.graph.node:
        step = made.get(node.input[1]) if _corrects(node) else None
        old = before.get(node.name)
        if step is None or old is None or step.op_type != "DequantizeLinear" or old.input[0] not in means:
            continue
        values, scale = (numpy_helper.to_array(stored[name]) for name in step.input[:2])
        error = values * scale.reshape(-1, 1, 1, 1) - numpy_helper.to_array(exact[old.input[1]])
        groups = next((item.i for item in node.attribute if item.name == "group"), 1)
        shift = mean_shift(error, means[old.input[0]], groups)
        bias = numpy_helper.to_array(exact[old.input[2]]) - shift
        node.input[2] = f"{node.name}{_CORRECTED}"
        quantized.graph.initializer.append(numpy_helper.from_array(bias.astype(np.float32), node.input[2]))
    read = {name for node in quantized.graph.node for name in node.input}
    used = [tensor for tensor in quantized.graph.initializer if tensor.name in read]
    del quantized.graph.initializer[:]
    quantized.graph.initializer.extend(used)


def mean_shift(error: NDArray[np.floating], mean: F32, groups: int) -> NDArray[np.floating]:
    """(O,) what weights that are off by `error` (O, I / groups, h, w) add to an input of this mean (I,)."""
    rows = mean.reshape(groups, -1).repeat(len(error) // groups, axis=0)
    return np.asarray((error.sum(axis=(2, 3)) * rows).sum(axis=1))


def _corrects(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and len(node.input) == 3
