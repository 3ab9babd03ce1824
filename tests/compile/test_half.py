from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from compile.graph_file import copy_of
from compile.half import halve_body, halve_weights, widen_weights
from firmware_cfg.errors import RemoteclipError

RNG = np.random.default_rng(0)


def model_of(
    nodes: Sequence[onnx.NodeProto], weights: dict[str, np.ndarray], **ports: object
) -> onnx.ModelProto:
    """Ports by name: (element type, shape); `out*` are outputs."""
    infos = {name: helper.make_tensor_value_info(name, *port) for name, port in ports.items()}  # type: ignore[misc]
    graph = helper.make_graph(
        list(nodes),
        "drawn",
        [info for name, info in infos.items() if not name.startswith("out")],
        [info for name, info in infos.items() if name.startswith("out")],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def scaled_model(weight: np.ndarray) -> onnx.ModelProto:
    port = (TensorProto.FLOAT, [len(weight)])
    return model_of([helper.make_node("Mul", ["x", "w"], ["out"])], {"w": weight}, x=port, out=port)


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def test_half_precision_numbers_come_back_exactly() -> None:
    weight = RNG.normal(size=500).astype(np.float16).astype(np.float32)
    model = halve_weights(scaled_model(weight))
    assert [i.data_type for i in model.graph.initializer] == [TensorProto.FLOAT16]
    np.testing.assert_array_equal(run(model, x=np.ones(500, np.float32))[0], weight)


def test_small_constants_stay_as_they_are() -> None:
    weight = np.full(64, 1 / 3, np.float32)
    assert numpy_helper.to_array(halve_weights(scaled_model(weight)).graph.initializer[0])[0] == weight[0]


def test_weights_beyond_half_precision_are_refused() -> None:
    with pytest.raises(RemoteclipError, match="w: weights beyond what float16 holds"):
        halve_weights(scaled_model(np.full(100, 1e6, np.float32)))
    with pytest.raises(RemoteclipError, match="matrix: weights beyond what float16 holds"):
        halve_body(tower_model(1e6))


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(fault: float) -> None:
    with pytest.raises(RemoteclipError, match="w: weights beyond what float16 holds"):
        halve_weights(scaled_model(np.full((16, 16), fault, np.float32)))


def test_widened_weights_are_the_graph_that_was_halved() -> None:
    model = scaled_model(RNG.normal(size=500).astype(np.float16).astype(np.float32))
    wide = widen_weights(halve_weights(copy_of(model)))
    assert [node.op_type for node in wide.graph.node] == ["Mul"]
    before, after = model.graph.initializer[0], wide.graph.initializer[0]
    assert after.name == before.name
    np.testing.assert_array_equal(numpy_helper.to_array(after), numpy_helper.to_array(before))


def tower_model(largest: float = 1.0) -> onnx.ModelProto:
    """Bytes, scaled, enlarged, times two matrices; the first product is read inside and outside."""
    matrix = RNG.uniform(-0.1, 0.1, (12, 12)).astype(np.float32)
    matrix[0, 0] = largest
    weights = {
        "half": np.array([127.0], np.float32),
        "sizes": np.array([1.0, 1.0, 2.0], np.float32),
        "matrix": matrix,
        "last": RNG.uniform(-0.1, 0.1, (12, 6)).astype(np.float32),
        "axes": np.array([-1]),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["wide", "half"], ["centred"]),
        helper.make_node("Resize", ["centred", "", "sizes"], ["larger"], mode="nearest"),
        helper.make_node("MatMul", ["larger", "matrix"], ["product"]),
        helper.make_node("Relu", ["product"], ["active"]),
        helper.make_node("MatMul", ["active", "last"], ["out_body"]),
        helper.make_node("ReduceL2", ["out_body", "axes"], ["length"]),
        helper.make_node("Div", ["out_body", "length"], ["unit"]),
        helper.make_node("Sub", ["unit", "half"], ["shifted"]),
        helper.make_node("Add", ["shifted", "bias"], ["out_unit"]),
        helper.make_node("Neg", ["product"], ["out_inner"]),
    ]
    return model_of(
        nodes,
        weights,
        image=(TensorProto.UINT8, ["n", 5, 6]),
        bias=(TensorProto.FLOAT, [6]),
        out_body=(TensorProto.FLOAT, ["n", 5, 6]),
        out_unit=(TensorProto.FLOAT, ["n", 5, 6]),
        out_inner=(TensorProto.FLOAT, ["n", 5, 12]),
    )


def test_a_body_in_half_precision_ends_at_its_last_product() -> None:
    half = halve_body(tower_model())
    onnx.checker.check_model(half, full_check=True)
    types = {value.name: value.type.tensor_type.elem_type for value in half.graph.value_info}
    node = {node.op_type + node.output[0]: node for node in half.graph.node}
    for name in ("wide", "centred", "larger", "product", "active", "out_body"):
        assert types[f"{name}_half"] == TensorProto.FLOAT16
    for name in ("length", "unit", "shifted", "product"):
        assert types[name] == TensorProto.FLOAT
    assert "active" not in types  # nobody outside reads it
    assert {value.type.tensor_type.elem_type for value in half.graph.output} == {TensorProto.FLOAT}
    assert node["Resizelarger_half"].input[2] == "sizes"
    stored = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert stored == {
        "half": TensorProto.FLOAT,  # read on both sides of the border
        "half_half": TensorProto.FLOAT16,
        "sizes": TensorProto.FLOAT,
        "matrix_half": TensorProto.FLOAT16,
        "last_half": TensorProto.FLOAT16,
        "axes": TensorProto.INT64,
    }


def test_half_precision_costs_rounding_and_nothing_else() -> None:
    model = tower_model()
    inputs = {"image": RNG.integers(0, 256, (3, 5, 6), np.uint8), "bias": np.ones(6, np.float32)}
    wanted = run(model, **inputs)
    # The reference evaluator rounds after every node; a CPU runtime would compute in float32 after all.
    found = ReferenceEvaluator(halve_body(model)).run(None, inputs)
    for name, one, other in zip(("body", "unit", "inner"), found, wanted, strict=True):
        assert one.dtype == np.float32, name
        np.testing.assert_allclose(one, other, atol=2e-3 * np.abs(other).max(), rtol=0, err_msg=name)
    assert not np.array_equal(found[0], wanted[0])
    run(halve_body(model), **inputs)
