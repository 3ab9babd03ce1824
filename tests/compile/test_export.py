from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from compile.export import HALF_IMAGE_GRAPH, IMAGE_GRAPH, IMAGE_WEIGHTS, export_image_graph
from compile.graph_file import OPSET, load_graph
from edge.bundle.golden import Golden, check_image_engine
from edge.engines import onnxruntime_engine, openvino_engine
from edge.engines.base import EngineOutput
from firmware_cfg.errors import UsageError
from training.checkpoint import Checkpoint, ModelSpec
from training.models.lite import POSITION_WIDTH, LiteImageTower
from training.models.lookup_graph import OUTPUTS, LookupGraph
from training.models.text import TextTower

WIDTH = 32
GRAPHS = {"fp32": IMAGE_GRAPH, "fp16": HALF_IMAGE_GRAPH}
ENGINES = {"onnxruntime": onnxruntime_engine, "openvino": openvino_engine}


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A small tower whose weights are half precision numbers, as those of a checkpoint are."""
    torch.manual_seed(0)
    tower = LiteImageTower(WIDTH, 24)
    tower.load_state_dict({k: v.half().to(v.dtype) for k, v in tower.state_dict().items()})
    spec = ModelSpec(
        1, "remoteclip-lite0", "tf_efficientnet_lite0", "all-MiniLM-L6-v2", WIDTH, 24, "research only"
    )
    return Checkpoint(spec, tower.eval(), TextTower(WIDTH).eval(), "0" * 64, {}, "")


@pytest.fixture(scope="module")
def exported(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_image_graph(checkpoint, folder)
    return folder


@torch.inference_mode()
def golden(checkpoint: Checkpoint, batch: int, height: int, width: int, prompts: int) -> Golden:
    """Drawn images and rows, and what torch says about them in float32."""
    rng = np.random.default_rng(prompts)
    image = rng.integers(0, 256, (batch, height // 16, width // 16, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    rows = rng.normal(size=(prompts, WIDTH + POSITION_WIDTH)).astype(np.float32)
    rows[:, :WIDTH] /= np.linalg.norm(rows[:, :WIDTH], axis=1, keepdims=True)
    rows[:, WIDTH:] *= 0.01
    bias = np.zeros(prompts, np.float32)
    bias[1:2] = -1000.0  # a background row
    outputs = LookupGraph(checkpoint.image)(*(torch.from_numpy(array) for array in (image, rows, bias)))
    return Golden(
        image,
        rows,
        bias,
        EngineOutput(*(array.numpy() for array in outputs)),
        (),
        np.zeros((0, WIDTH), np.float32),
    )


@pytest.mark.parametrize("name", GRAPHS.values())
def test_inputs_and_outputs_have_their_names_and_dynamic_dimensions(exported: Path, name: str) -> None:
    model = load_graph(exported / name)
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
    assert {value.type.tensor_type.elem_type for value in model.graph.output} == {TensorProto.FLOAT}
    assert [opset.version for opset in model.opset_import if not opset.domain] == [OPSET]
    # TensorRT takes bytes into a Cast only, and no other node reads them.
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert {node.op_type for node in model.graph.node if "image" in node.input} <= {"Cast", "Shape"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", GRAPHS)
@pytest.mark.parametrize(("batch", "height", "width", "prompts"), [(1, 256, 320, 1), (3, 288, 256, 12)])
def test_engines_give_what_torch_gives_at_any_size_and_prompt_count(
    checkpoint: Checkpoint,
    exported: Path,
    engine: str,
    precision: str,
    batch: int,
    height: int,
    width: int,
    prompts: int,
) -> None:
    wanted = golden(checkpoint, batch, height, width, prompts)
    running = ENGINES[engine].image_engine(exported / GRAPHS[precision], precision, (width, height), 2)
    check = check_image_engine(running, wanted)
    assert check.places >= 50 * batch
    assert check.problems == ()


def test_the_body_computes_in_half_precision_and_the_lookup_does_not(exported: Path) -> None:
    graph = onnx.shape_inference.infer_shapes(load_graph(exported / HALF_IMAGE_GRAPH), strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    by_kind: dict[str, set[int]] = {}
    for node in graph.node:
        by_kind.setdefault(node.op_type, set()).add(types[node.output[0]])
    assert by_kind["Conv"] == by_kind["Gemm"] == by_kind["Resize"] == {TensorProto.FLOAT16}
    for kind in ("ReduceL2", "MatMul", "MaxPool", "TopK", "GatherElements", "Exp", "Sin"):
        assert by_kind[kind] == {TensorProto.FLOAT}, kind


@torch.inference_mode()
def test_half_precision_arithmetic_stays_near(checkpoint: Checkpoint, exported: Path) -> None:
    """CPU runtimes compute a float16 graph in float32; the reference evaluator rounds after every node."""
    model = load_graph(exported / HALF_IMAGE_GRAPH)
    lengths = {node.input[0] for node in model.graph.node if node.op_type == "ReduceL2"}
    units = [
        node.output[0] for node in model.graph.node if node.op_type == "Div" and node.input[0] in lengths
    ]
    body = onnx.utils.Extractor(model).extract_model(["image"], units)
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 4, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    wanted = checkpoint.image(torch.from_numpy(image))
    by_rank = {2: wanted.embedding.numpy(), 4: wanted.cell.numpy()}
    outputs = ReferenceEvaluator(body).run(None, {"image": image})
    assert sorted(array.ndim for array in outputs) == [2, 4]
    for array in outputs:
        assert not np.array_equal(array, by_rank[array.ndim])
        assert (array * by_rank[array.ndim]).sum(axis=1).min() > 0.9995


def test_weights_are_stored_once_and_in_half_precision(exported: Path) -> None:
    sizes: dict[int, int] = {}
    for initializer in load_graph(exported / IMAGE_GRAPH).graph.initializer:
        sizes[initializer.data_type] = sizes.get(initializer.data_type, 0) + int(np.prod(initializer.dims))
    assert sizes[TensorProto.FLOAT16] > 3_000_000
    assert sizes.get(TensorProto.FLOAT, 0) < 20_000
    stored = {file.name: file.stat().st_size for file in exported.iterdir()}
    assert set(stored) == {IMAGE_GRAPH, HALF_IMAGE_GRAPH, IMAGE_WEIGHTS}
    assert stored[IMAGE_WEIGHTS] < 2.02 * sizes[TensorProto.FLOAT16]
    assert stored[IMAGE_GRAPH] + stored[HALF_IMAGE_GRAPH] < 200_000


def test_a_light_tower_has_no_one_size(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="images of any size"):
        export_image_graph(checkpoint, tmp_path, (640, 384))
    assert list(tmp_path.iterdir()) == []
