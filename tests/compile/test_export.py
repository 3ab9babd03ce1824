from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compile.export import OPSET, export_image_graph, halve_weights
from firmware_cfg.errors import RemoteclipError
from training.models.lite import POSITION_WIDTH, LiteImageTower
from training.models.lookup_graph import INPUTS, NO_PEAK, OUTPUTS, LookupGraph

WIDTH = 32


@pytest.fixture(scope="module")
def graph() -> LookupGraph:
    """A small tower whose weights are half precision numbers, as those of a checkpoint are."""
    torch.manual_seed(0)
    tower = LiteImageTower(WIDTH, 24)
    tower.load_state_dict({k: v.half().to(v.dtype) for k, v in tower.state_dict().items()})
    return LookupGraph(tower.eval(), places=50).eval()


@pytest.fixture(scope="module")
def exported(graph: LookupGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("export") / "image.onnx"
    export_image_graph(graph, WIDTH, file)
    return file


def test_inputs_and_outputs_have_their_names_and_dynamic_dimensions(exported: Path) -> None:
    model = onnx.load(exported)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    assert shapes == {
        "image": ["batch", "height", "width", 3],
        "prompts": ["num_prompts", WIDTH + POSITION_WIDTH],
        "bias": ["num_prompts"],
    }
    assert tuple(value.name for value in model.graph.output) == OUTPUTS
    assert [opset.version for opset in model.opset_import if not opset.domain] == [OPSET]
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8


@pytest.mark.parametrize(("batch", "height", "width", "prompts"), [(1, 256, 320, 1), (3, 288, 256, 12)])
@torch.inference_mode()
def test_onnxruntime_gives_what_torch_gives_at_any_size_and_prompt_count(
    graph: LookupGraph, exported: Path, batch: int, height: int, width: int, prompts: int
) -> None:
    rng = np.random.default_rng(prompts)
    image = rng.integers(0, 256, (batch, height // 16, width // 16, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    rows = rng.normal(size=(prompts, WIDTH + POSITION_WIDTH)).astype(np.float32)
    rows[:, :WIDTH] /= np.linalg.norm(rows[:, :WIDTH], axis=1, keepdims=True)
    rows[:, WIDTH:] *= 0.01
    bias = np.zeros(prompts, np.float32)
    bias[1:2] = -1000.0  # a background row
    session = ort.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    found = dict(
        zip(OUTPUTS, session.run(None, dict(zip(INPUTS, (image, rows, bias), strict=True))), strict=True)
    )
    wanted = graph(*(torch.from_numpy(array) for array in (image, rows, bias)))
    expected = {name: output.numpy() for name, output in zip(OUTPUTS, wanted, strict=True)}
    assert {name: array.shape for name, array in found.items()} == {
        name: array.shape for name, array in expected.items()
    }
    for name in ("scene", "embedding"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)
    # Places of nearly equal strength may change order: strengths in order must agree, and a clear winner.
    strength = {
        which: out["place_logit"].max(axis=2) for which, out in (("found", found), ("wanted", expected))
    }
    real = strength["wanted"] > NO_PEAK / 20
    np.testing.assert_allclose(strength["found"][real], strength["wanted"][real], atol=0.02)
    for n in range(batch):
        gap = strength["wanted"][n, 0] - strength["wanted"][n, 1]
        if gap > 0.02:
            np.testing.assert_allclose(found["place_box"][n, 0], expected["place_box"][n, 0], atol=0.1)
            np.testing.assert_allclose(
                found["place_embedding"][n, 0], expected["place_embedding"][n, 0], atol=2e-3
            )


def test_weights_are_stored_in_half_precision(exported: Path) -> None:
    sizes: dict[int, int] = {}
    for initializer in onnx.load(exported).graph.initializer:
        sizes[initializer.data_type] = sizes.get(initializer.data_type, 0) + int(np.prod(initializer.dims))
    assert sizes[TensorProto.FLOAT16] > 3_000_000
    assert sizes.get(TensorProto.FLOAT, 0) < 20_000


def scaled_model(weight: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["out"])],
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [len(weight)])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [len(weight)])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_half_precision_numbers_come_back_exactly() -> None:
    weight = np.random.default_rng(0).normal(size=500).astype(np.float16).astype(np.float32)
    model = halve_weights(scaled_model(weight))
    onnx.checker.check_model(model, full_check=True)
    assert [i.data_type for i in model.graph.initializer] == [TensorProto.FLOAT16]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": np.ones(500, np.float32)})[0], weight)


def test_small_constants_stay_as_they_are() -> None:
    weight = np.full(64, 1 / 3, np.float32)
    assert numpy_helper.to_array(halve_weights(scaled_model(weight)).graph.initializer[0])[0] == weight[0]


def test_weights_beyond_half_precision_are_refused() -> None:
    with pytest.raises(RemoteclipError, match="w: weights beyond what float16 holds"):
        halve_weights(scaled_model(np.full(100, 1e6, np.float32)))
