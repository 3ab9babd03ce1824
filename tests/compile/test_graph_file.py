from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from compile.graph_file import load_graph, save_graphs
from firmware_cfg.errors import BundleError

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(16, 16)).astype(np.float16)
OTHER = RNG.normal(size=(16, 16)).astype(np.float16)


def drawn(*matrices: np.ndarray, opset: int = 20, first: str = "a") -> onnx.ModelProto:
    """x (n, 16) times each float16 matrix in turn, in float32."""
    nodes, weights, last = [], [], "x"
    for number, matrix in enumerate(matrices):
        name = f"{first}{number}"
        weights.append(numpy_helper.from_array(matrix, name))
        nodes.append(helper.make_node("Cast", [name], [f"{name}_wide"], to=TensorProto.FLOAT))
        out = "out" if number == len(matrices) - 1 else f"hidden{number}"
        nodes.append(helper.make_node("MatMul", [last, f"{name}_wide"], [out]))
        last = out
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 16]) for name in ("x", "out")]
    graph = helper.make_graph(nodes, "drawn", port[:1], port[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models that share one matrix."""
    save_graphs(tmp_path, {"a.onnx": drawn(MATRIX, OTHER), "b.onnx": drawn(OTHER, first="b")}, "both.weights")
    return tmp_path


def test_a_tensor_that_two_models_read_is_stored_once(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == ["a.onnx", "b.onnx", "both.weights"]
    assert (folder / "both.weights").read_bytes() == MATRIX.tobytes() + OTHER.tobytes()
    for name in ("a.onnx", "b.onnx"):
        assert (folder / name).stat().st_size < MATRIX.nbytes * 1.5
    a, b = load_graph(folder / "a.onnx").graph.initializer, load_graph(folder / "b.onnx").graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(a[0]), MATRIX)
    np.testing.assert_array_equal(numpy_helper.to_array(a[1]), OTHER)
    np.testing.assert_array_equal(numpy_helper.to_array(b[0]), OTHER)


def test_both_runtimes_find_the_shared_weights(folder: Path) -> None:
    x = np.eye(16, dtype=np.float32)
    wanted = MATRIX.astype(np.float32) @ OTHER.astype(np.float32)
    session = ort.InferenceSession(str(folder / "a.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0], wanted, atol=1e-5)
    compiled = openvino.Core().compile_model(folder / "a.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled({"x": x})["out"], wanted, atol=1e-5)


def test_the_same_models_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    save_graphs(again, {"a.onnx": drawn(MATRIX, OTHER), "b.onnx": drawn(OTHER, first="b")}, "both.weights")
    for name in ("a.onnx", "b.onnx", "both.weights"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_small_tensors_stay_in_the_model(tmp_path: Path) -> None:
    model = drawn(MATRIX)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(64, np.float16), "bias"))
    save_graphs(tmp_path, {"a.onnx": model}, "a.weights")
    assert (tmp_path / "a.weights").stat().st_size == MATRIX.nbytes


def test_a_graph_that_the_checker_refuses_is_not_passed_on(tmp_path: Path) -> None:
    model = drawn(MATRIX)
    model.graph.node[1].input[1] = "nowhere"
    with pytest.raises(BundleError, match=r"a\.onnx: not a valid ONNX graph: .*nowhere"):
        save_graphs(tmp_path, {"a.onnx": model}, "a.weights")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"image\.onnx: cannot be read: No such file"):
        load_graph(tmp_path / "image.onnx")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_a_truncated_file_is_refused(folder: Path, share: float) -> None:
    data = (folder / "a.onnx").read_bytes()
    (folder / "a.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BundleError, match=r"a\.onnx: truncated, or not an ONNX file"):
        load_graph(folder / "a.onnx")


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("<html>404 Not Found</html>")
    with pytest.raises(BundleError, match="truncated, or not an ONNX file"):
        load_graph(tmp_path / "a.onnx")


def test_another_opset_is_refused_by_its_name_and_number(tmp_path: Path) -> None:
    onnx.save(drawn(MATRIX, opset=17), str(tmp_path / "a.onnx"))
    with pytest.raises(BundleError, match=r"opset ai\.onnx 17, wanted ai\.onnx 20"):
        load_graph(tmp_path / "a.onnx")


def test_lost_or_short_weights_are_told_apart(folder: Path) -> None:
    weights = folder / "both.weights"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"both\.weights: 1023 bytes are too few for a1 of a\.onnx"):
        load_graph(folder / "a.onnx")
    weights.unlink()
    with pytest.raises(BundleError, match=r"a\.onnx: its weights are in both\.weights, .*No such file"):
        load_graph(folder / "a.onnx")


def test_weights_outside_of_the_folder_are_not_read(tmp_path: Path) -> None:
    inner = tmp_path / "bundle"
    inner.mkdir()
    save_graphs(inner, {"a.onnx": drawn(MATRIX)}, "secret")
    (inner / "secret").rename(tmp_path / "secret")
    model = onnx.load(str(inner / "a.onnx"), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../secret"
    (inner / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"a\.onnx: its weights cannot be read"):
        load_graph(inner / "a.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, value: float) -> None:
    broken = MATRIX.copy()
    broken[3, 4] = value
    save_graphs(tmp_path, {"a.onnx": drawn(OTHER, broken)}, "a.weights")
    with pytest.raises(BundleError, match=r"weights a1 hold NaN or infinite numbers"):
        load_graph(tmp_path / "a.onnx")
