from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from compile.quantize.bias import mean_inputs, mean_shift
from compile.quantize.images import CalibrationImages
from compile.quantize.layers import body_of
from compile.quantize.qdq import insert_qdq
from compile.quantize.ranges import measure_activations

SIZES = ((256, 256),)


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(6, 4, 1), (6, 6, 6), (6, 12, 6), (8, 4, 2)])
def test_the_shift_is_what_onnx_says_of_a_constant_input(inputs: int, outputs: int, groups: int) -> None:
    rng = np.random.default_rng(outputs)
    error = rng.normal(size=(outputs, inputs // groups, 3, 3)).astype(np.float32)
    mean = rng.normal(size=inputs).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups)
    image = np.broadcast_to(mean[None, :, None, None], (1, inputs, 3, 3))
    (expected,) = ReferenceEvaluator(node).run(None, {"x": image, "w": error})
    np.testing.assert_allclose(mean_shift(error, mean, groups), expected[0, :, 0, 0], rtol=1e-4, atol=1e-5)


def test_a_corrected_layer_answers_right_on_average(small_graph: Path, pictures: Path) -> None:
    body = body_of(onnx.load(str(small_graph)))
    images = CalibrationImages.from_folder(pictures, SIZES)
    activations = measure_activations(body, images)
    # The one layer that has a bias; its input stays exact here, so that only its weights are off.
    quantized = insert_qdq(body.model, activations, ["conv_3"], body.op_types)
    made = {name: node for node in quantized.graph.node for name in node.output}
    layer = next(node for node in quantized.graph.node if node.name == "conv_3")
    layer.input[0] = made[made[layer.input[0]].input[0]].input[0]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    before = next(node for node in body.model.graph.node if node.name == "conv_3")
    exact = {tensor.name: numpy_helper.to_array(tensor) for tensor in body.model.graph.initializer}
    assert not np.array_equal(stored[layer.input[2]], exact[before.input[2]])
    assert before.input[2] not in stored

    def mean_output(model: onnx.ModelProto) -> np.ndarray:
        model.graph.output.append(helper.make_tensor_value_info("c3", onnx.TensorProto.FLOAT, None))
        run = ReferenceEvaluator(model)
        return np.mean(
            [run.run(["c3"], {"image": images.tile(path)})[0].mean(axis=(0, 2, 3)) for path in images.paths],
            axis=0,
        )

    right = mean_output(body.model)
    corrected = np.abs(mean_output(quantized) - right).max()
    layer.input[2] = before.input[2]
    quantized.graph.initializer.append(numpy_helper.from_array(exact[before.input[2]], before.input[2]))
    plain = np.abs(mean_output(quantized) - right).max()
    assert corrected < 0.1 * plain


def test_means_are_those_of_what_layers_with_a_bias_read(small_graph: Path, pictures: Path) -> None:
    body = body_of(onnx.load(str(small_graph)))
    means = mean_inputs(body, CalibrationImages.from_folder(pictures, SIZES))
    assert set(means) == {"r2"}
    assert means["r2"].shape == (8,)
    assert (means["r2"] >= 0).all()  # it comes after a ReLU
