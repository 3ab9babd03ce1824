from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from rich.console import Console
from typer.testing import CliRunner

from compile.cli import app
from compile.graph_file import load_graph
from compile.half import widen_weights
from compile.quantize.images import CalibrationImages
from compile.quantize.layers import body_of, static_size
from compile.quantize.run import INT8_GRAPH, QuantizeOptions, QuantizeReport, quantize_image_graph
from edge.bundle.golden import check_image_engine, load_golden
from edge.bundle.load import DEFAULT, load_bundle
from edge.engines import onnxruntime_engine, openvino_engine
from firmware_cfg.errors import BundleError

SIZES = ((256, 256),)
FIRST_DEPTHWISE = "tower.trunk.blocks.0.0.conv_dw"  # what a search on photographs leaves float
QUIET = Console(quiet=True)


def quantized(source: Path, out: Path, pictures: Path, floats: tuple[str, ...] = ()) -> QuantizeReport:
    images = CalibrationImages.from_folder(pictures, SIZES)
    options = QuantizeOptions(floats, most_float=0, judged_on=2)
    return quantize_image_graph(source, out, images, options, QUIET)


@pytest.fixture(scope="module")
def shipped_graph() -> Path:
    bundle = load_bundle(DEFAULT)
    return bundle.file(bundle.manifest.variants["fp32"])


@pytest.fixture(scope="module")
def int8_graph(shipped_graph: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model in int8, calibrated on drawn pictures."""
    out = tmp_path_factory.mktemp("int8") / INT8_GRAPH
    quantized(shipped_graph, out, pictures, (FIRST_DEPTHWISE,))
    return out


def test_convolutions_read_int8_and_nothing_else_does(int8_graph: Path) -> None:
    model = load_graph(int8_graph)
    made = {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    floats = [node for node in convolutions if made[node.input[1]].op_type == "Cast"]
    assert [node.input[1] for node in floats] == [f"{FIRST_DEPTHWISE}.weight"]
    assert len(convolutions) == 64
    for node in convolutions:
        if node in floats:
            continue
        assert [made[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        assert node.input[2] not in made  # the bias is a constant, not dequantized
    # A convolution's output is quantized by whoever reads it, after the activation: never in between.
    quantized_by = Counter(
        made[node.input[0]].op_type for node in model.graph.node if node.op_type == "QuantizeLinear"
    )
    assert set(quantized_by) == {"Div", "Clip", "Conv", "Add"}
    readers = Counter(
        reader.op_type
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for reader in model.graph.node
        if node.output[0] in reader.input
    )
    assert set(readers) == {"Conv", "Add"}


def test_all_scales_are_symmetric_positive_and_those_of_weights_by_channel(int8_graph: Path) -> None:
    model = load_graph(int8_graph)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    steps = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in steps:
        scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input[1:])
        assert (zero.dtype, zero.any()) == (np.dtype(np.int8), False)
        assert scale.dtype == np.float32
        assert (scale > 0).all()
        if node.input[0] in stored:
            assert scale.shape == (stored[node.input[0]].dims[0],)
            assert next(a.i for a in node.attribute if a.name == "axis") == 0
        else:
            assert scale.shape == ()
    assert TensorProto.INT32 not in {tensor.data_type for tensor in stored.values()}


def test_stored_weights_are_the_nearest_steps_of_their_channel(int8_graph: Path, shipped_graph: Path) -> None:
    exact = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in widen_weights(load_graph(shipped_graph)).graph.initializer
    }
    model = load_graph(int8_graph)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    steps = [
        node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored
    ]
    assert len(steps) == 63
    for node in steps:
        weight = exact[node.input[0].removesuffix("_quantized")]
        scale = stored[node.input[1]].reshape(-1, 1, 1, 1)
        largest = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
        np.testing.assert_allclose(scale[largest > 0], largest[largest > 0] / 127, rtol=1e-6)
        error = np.abs(stored[node.input[0]] * scale - weight)
        assert (error <= scale * 0.501).all()


@pytest.mark.parametrize("backend", [openvino_engine, onnxruntime_engine])
def test_both_cpu_engines_reproduce_the_golden_vectors_in_int8(int8_graph: Path, backend: object) -> None:
    golden = load_golden(load_bundle(DEFAULT))
    engine = backend.image_engine(int8_graph, "int8", golden.image_size, 2)  # type: ignore[attr-defined]
    check = check_image_engine(engine, golden)
    engine.close()
    assert check.problems == ()
    assert check.differences["embedding"] > 1e-4  # it did compute in int8


def test_a_file_is_the_same_each_time_and_its_report_is_json(
    small_graph: Path, pictures: Path, tmp_path: Path
) -> None:
    reports = [quantized(small_graph, tmp_path / name, pictures, ("hurts",)) for name in "ab"]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert reports[0] == reports[1]
    assert reports[0].size == (tmp_path / "a").stat().st_size
    facts = json.loads(json.dumps(reports[0].facts()))
    assert (facts["layers"], facts["float_layers"], facts["images"]) == (4, ["hurts"], 8)
    assert "calibrated on 8 images" in facts["warning"]


def test_the_int8_file_is_three_fifths_of_the_float_one(int8_graph: Path, shipped_graph: Path) -> None:
    weights = widen_weights(load_graph(shipped_graph)).graph.initializer
    halves = sum(2 * int(np.prod(tensor.dims)) for tensor in weights)
    assert int8_graph.stat().st_size < 0.6 * halves


def test_a_graph_for_one_size_is_calibrated_at_that_size(
    small_graph: Path, pictures: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(small_graph))
    assert static_size(model) is None
    for dimension, side in zip(model.graph.input[0].type.tensor_type.shape.dim[1:3], (128, 192), strict=True):
        dimension.dim_value = side
    assert static_size(model) == (192, 128)
    onnx.save(model, str(tmp_path / "image.onnx"))
    # The runtime refuses any other size.
    quantized(tmp_path / "image.onnx", tmp_path / INT8_GRAPH, pictures)
    assert (tmp_path / INT8_GRAPH).is_file()


def test_another_graph_is_refused_in_one_line(pictures: Path, tmp_path: Path) -> None:
    text = load_bundle(DEFAULT).text_graph
    with pytest.raises(BundleError, match=r"text\.onnx: the graph's place_embedding is not gathered"):
        quantized(text, tmp_path / INT8_GRAPH, pictures)
    assert not any(tmp_path.iterdir())


def test_nothing_is_left_where_the_file_cannot_be_written(
    small_graph: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        quantized(small_graph, tmp_path / "taken", pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_command_says_what_stayed_float(small_graph: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "graph.onnx"
    command = ["quantize", str(small_graph.parent), "--images", str(pictures), "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "4 layers, left float: hurts" in result.stdout
    assert "fewer than the 500" in result.stderr
    result = CliRunner().invoke(app, [*command, "--json", "--most-float", "0"])
    facts = json.loads(result.stdout)
    assert facts["float_layers"] == []
    assert facts["size"] == out.stat().st_size
    assert facts["cosine"]["images"] < 0.9


def test_lookup_stays_float(int8_graph: Path) -> None:
    body = body_of(widen_weights(load_graph(int8_graph)))
    model = load_graph(int8_graph)
    inside = {name for node in body.model.graph.node for name in node.output}
    outside = [node for node in model.graph.node if inside.isdisjoint(node.output)]
    assert outside
    assert not [node.op_type for node in outside if node.op_type.endswith("QuantizeLinear")]
