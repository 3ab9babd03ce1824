"""Q/DQ nodes: the one int8 layout that OpenVINO runs fast and TensorRT builds, and how it is stored.

Symmetric int8 with zero point 0: weights a scale a channel, activations a scale a tensor. Each int8 layer
reads its input through Q/DQ; outputs have none of their own, so that what follows (ReLU6, a residual sum)
fuses with the layer. Whoever else reads a quantized value reads it quantized, which is what a fused residual
sum wants. Biases stay float32: TensorRT refuses int32 ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from compile.graph_file import copy_of
from compile.half import halve_weights
from compile.quantize.bias import correct_biases
from compile.quantize.ranges import Activations

_QUANTIZATION = ("QuantizeLinear", "DequantizeLinear")
_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    # It widens weights' scales for the sake of the int32 biases that this layout has not.
    "QDQDisableWeightAdjustForInt32Bias": True,
}


def insert_qdq(
    model: onnx.ModelProto, activations: Activations, layers: Sequence[str], op_types: Sequence[str]
) -> onnx.ModelProto:
    """A copy of a float32 graph in which these layers compute in int8.

    model: weights as float32 initializers; activations: see
    measure_activations; layers: names of nodes of op_types.
    """
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(copy_of(model), data_prop=True),
        True,
        False,
        QuantType.QInt8,
        QuantType.QInt8,
        activations.ranges,
        list(layers),
        [],
        list(op_types),
        {**_OPTIONS, "OpTypesToExcludeOutputQuantization": list(op_types)},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    correct_biases(quantized, model, activations.means)
    return quantized


def store_small(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store what weights are still float32 in half precision, widened in the graph; changes the model.

    Scales and biases stay as they are: TensorRT wants them constant, and they are few. What exporters note
    about nodes, stack traces of a tenth of the file, goes, and so do inferred shapes.
    """
    graph = model.graph
    del graph.value_info[:]
    for item in (model, graph, *graph.node):
        del item.metadata_props[:]
    scales = _scales(model)
    kept = [tensor for tensor in graph.initializer if len(tensor.dims) < 2 or tensor.name in scales]
    weights = [tensor for tensor in graph.initializer if len(tensor.dims) >= 2 and tensor.name not in scales]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    halve_weights(model)
    graph.initializer.extend(kept)
    return model


def _scales(model: onnx.ModelProto) -> set[str]:
    return {node.input[1] for node in model.graph.node if node.op_type in _QUANTIZATION}
