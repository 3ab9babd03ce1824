from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from compile.weight_only import quantize_weights

RNG = np.random.default_rng(0)
ROWS, INNER, OUTER = 90, 64, 80  # both matrices are large enough to be quantized


def model_of(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    inputs: dict[str, tuple[int, list]],
    width: int,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "drawn",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, width])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(model)
    return other


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


@pytest.fixture
def embedding_model() -> onnx.ModelProto:
    """Rows of a table, times a matrix, plus a Gemm by a transposed matrix."""
    weights = {
        "table": RNG.normal(size=(ROWS, INNER)).astype(np.float32)
        * RNG.uniform(0.01, 3, (ROWS, 1)).astype(np.float32),
        "matrix": RNG.normal(size=(INNER, OUTER)).astype(np.float32),
        "transposed": RNG.normal(size=(OUTER, OUTER)).astype(np.float32),
        "bias": RNG.normal(size=OUTER).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "matrix"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "transposed", "bias"], ["out"], transB=1),
    ]
    return model_of(nodes, weights, {"ids": (TensorProto.INT64, [None])}, OUTER)


def test_results_stay_close_to_float_and_weights_take_a_quarter(embedding_model: onnx.ModelProto) -> None:
    ids = np.arange(ROWS)
    exact = run(embedding_model, ids=ids)
    small = quantize_weights(copy_of(embedding_model))
    found = run(small, ids=ids)
    cosine = (found * exact).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 0.999
    assert not np.array_equal(found, exact)
    assert small.ByteSize() < 0.35 * embedding_model.ByteSize()
    stored = weights_of(small)
    assert {name for name, array in stored.items() if array.dtype == np.int8} == {
        "table_int8",
        "matrix_int8",
        "transposed_int8",
    }
    assert stored["bias"].dtype == np.float32


def test_scales_are_per_output_channel_and_per_row(embedding_model: onnx.ModelProto) -> None:
    before = weights_of(embedding_model)
    stored = weights_of(quantize_weights(embedding_model))
    np.testing.assert_allclose(stored["matrix_scale"], np.abs(before["matrix"]).max(axis=0) / 127, rtol=1e-6)
    np.testing.assert_allclose(
        stored["transposed_scale"], np.abs(before["transposed"]).max(axis=1) / 127, rtol=1e-6
    )
    assert stored["table_scale"].shape == (ROWS, 1)
    assert np.abs(stored["matrix_int8"]).max() == 127
    restored = stored["table_int8"] * stored["table_scale"]
    assert np.all(np.abs(restored - before["table"]) <= stored["table_scale"] / 2 + 1e-7)


def test_a_gathered_table_stays_int8_until_its_rows_are_read(embedding_model: onnx.ModelProto) -> None:
    nodes = quantize_weights(embedding_model).graph.node
    readers = {name: node.op_type for node in nodes for name in node.input}
    assert readers["table_int8"] == readers["table_scale"] == "Gather"


def test_a_table_read_twice_and_a_matrix_multiplied_twice_are_stored_once() -> None:
    weights = {
        "table": RNG.normal(size=(ROWS, INNER)).astype(np.float32),
        "matrix": RNG.normal(size=(INNER, INNER)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["a"]),
        helper.make_node("Gather", ["table", "more"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("MatMul", ["sum", "matrix"], ["once"]),
        helper.make_node("MatMul", ["once", "matrix"], ["out"]),
    ]
    ints = (TensorProto.INT64, [None])
    model = model_of(nodes, weights, {"ids": ints, "more": ints}, INNER)
    inputs = {"ids": np.array([1, 5, 89]), "more": np.array([0, 5, 2])}
    exact = run(model, **inputs)
    small = quantize_weights(copy_of(model))
    assert sorted(weights_of(small)) == ["matrix_int8", "matrix_scale", "table_int8", "table_scale"]
    np.testing.assert_allclose(run(small, **inputs), exact, atol=0.02 * np.abs(exact).max())


def test_a_large_table_takes_four_bits_a_number() -> None:
    rows = 1 << 14
    table = RNG.normal(size=(rows, INNER)).astype(np.float32)
    model = model_of(
        [helper.make_node("Gather", ["table", "ids"], ["out"])],
        {"table": table},
        {"ids": (TensorProto.INT64, [None])},
        INNER,
    )
    ids = np.array([0, 5, rows - 1])
    small = quantize_weights(copy_of(model))
    assert small.ByteSize() < 0.14 * model.ByteSize()
    found, exact = run(small, ids=ids), table[ids]
    cosine = (found * exact).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 0.994
    assert {i.name: i.data_type for i in small.graph.initializer}["table_packed"] == TensorProto.UINT8


def test_a_large_table_without_whole_blocks_takes_eight_bits() -> None:
    table = RNG.normal(size=(1 << 14, INNER + 1)).astype(np.float32)
    model = model_of(
        [helper.make_node("Gather", ["table", "ids"], ["out"])],
        {"table": table},
        {"ids": (TensorProto.INT64, [None])},
        INNER + 1,
    )
    assert sorted(weights_of(quantize_weights(model))) == ["table_int8", "table_scale"]


def test_eight_bits_can_be_asked_for() -> None:
    table = RNG.normal(size=(1 << 14, INNER)).astype(np.float32)
    model = model_of(
        [helper.make_node("Gather", ["table", "ids"], ["out"])],
        {"table": table},
        {"ids": (TensorProto.INT64, [None])},
        INNER,
    )
    stored = weights_of(quantize_weights(model, four_bits=False))
    assert sorted(stored) == ["table_int8", "table_scale"]


def test_a_matrix_that_is_also_used_otherwise_stays_float() -> None:
    # A tied embedding: gathered by rows and multiplied by; and a table gathered by columns.
    weights = {
        "tied": RNG.normal(size=(INNER, INNER)).astype(np.float32),
        "columns": RNG.normal(size=(INNER, ROWS)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["tied", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "tied"], ["hidden"]),
        helper.make_node("Gather", ["columns", "ids"], ["picked"], axis=1),
        helper.make_node("MatMul", ["hidden", "picked"], ["out"]),
    ]
    model = model_of(nodes, weights, {"ids": (TensorProto.INT64, [3])}, 3)
    ids = np.array([4, 9, 60])
    small = quantize_weights(copy_of(model))
    np.testing.assert_array_equal(run(small, ids=ids), run(model, ids=ids))
