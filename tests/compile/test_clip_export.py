from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from compile.export import HALF_IMAGE_GRAPH, IMAGE_GRAPH, export_image_graph, export_text_tower
from compile.graph_file import load_graph
from edge.bundle.golden import Golden, check_image_engine
from edge.engines import onnxruntime_engine, openvino_engine
from edge.engines.base import EngineOutput
from firmware_cfg.errors import UsageError
from training.checkpoint import ClipCheckpoint, open_checkpoint, save_clip_checkpoint
from training.models.lite import POSITION_WIDTH
from training.torch_engine import TorchTextEncoder
from training.towers.clip import create_tower
from training.towers.lookup import ClipLookup

TEXT = {"width": 32, "heads": 2, "layers": 2}
VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8},
    "text_cfg": TEXT,
}
RESNET = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "head_width": 16},
    "text_cfg": TEXT,
}
CONFIGS = {"vit": VIT, "resnet": RESNET}
SIZES = {"vit": (40, 32), "resnet": (160, 96)}  # neither is the tower's own: positions are resampled
GRAPHS = {"fp32": IMAGE_GRAPH, "fp16": HALF_IMAGE_GRAPH}
ENGINES = {"onnxruntime": onnxruntime_engine, "openvino": openvino_engine}
SENTENCES = ("boats", "many planes are parked beside a long building", "word " * 70)


def draw(state: dict[str, torch.Tensor]) -> None:
    """Weights as large as trained ones, that half precision holds: activations leave GELU's linear part."""
    torch.manual_seed(5)
    for name, value in state.items():
        if name == "logit_scale":
            value.fill_(3.0)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            fan_in = value[0].numel() if value.ndim > 1 else 25
            centre = 1.0 if value.ndim == 1 and name.endswith("weight") else 0.0
            value.normal_(centre, 1.5 * fan_in**-0.5 if value.ndim > 1 else 0.2)
            value.copy_(value.half())


def official_checkpoint(folder: Path, config: dict[str, Any]) -> ClipCheckpoint:
    """Drawn weights in the format of RemoteCLIP's files, read as such a file is, saved and loaded again."""
    name = str(folder / "tiny.json")
    Path(name).write_text(json.dumps(config))
    tower = create_tower(name)
    state = tower.model.state_dict()
    draw(state)
    torch.save({key: value.half() for key, value in state.items()}, folder / "RemoteCLIP-drawn.pt")
    save_clip_checkpoint(folder / "saved", create_tower(name, folder / "RemoteCLIP-drawn.pt"), "none", {}, "")
    checkpoint = open_checkpoint(folder / "saved")
    assert isinstance(checkpoint, ClipCheckpoint)
    assert checkpoint.spec.quick_gelu
    return checkpoint


@torch.inference_mode()
def golden(checkpoint: ClipCheckpoint, size: tuple[int, int]) -> Golden:
    """Three drawn images and seven rows, one of them background, and what torch says about them."""
    rng = np.random.default_rng(3)
    width, height = size
    image = rng.integers(0, 256, (3, height // 8, width // 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    embedding_width = checkpoint.towers.embedding_width
    rows = rng.normal(size=(7, embedding_width + POSITION_WIDTH)).astype(np.float32)
    rows[:, :embedding_width] /= np.linalg.norm(rows[:, :embedding_width], axis=1, keepdims=True)
    rows[:, embedding_width:] *= 0.01
    bias = np.array([0, -1000, 0, 0, 0, 0, 0], np.float32)
    lookup = ClipLookup(checkpoint.towers, size)
    outputs = lookup(*(torch.from_numpy(array) for array in (image, rows, bias)))
    expected = EngineOutput(*(array.numpy() for array in outputs))
    return Golden(image, rows, bias, expected, (), np.zeros((0, embedding_width), np.float32))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipCheckpoint]:
    return {kind: official_checkpoint(tmp_path_factory.mktemp(kind), c) for kind, c in CONFIGS.items()}


@pytest.fixture(scope="module")
def exported(
    checkpoints: dict[str, ClipCheckpoint], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folders = {kind: tmp_path_factory.mktemp("export") for kind in CONFIGS}
    for kind, folder in folders.items():
        export_image_graph(checkpoints[kind], folder, SIZES[kind])
    return folders


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", GRAPHS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_engines_give_what_torch_gives(
    checkpoints: dict[str, ClipCheckpoint], exported: dict[str, Path], kind: str, precision: str, engine: str
) -> None:
    wanted = golden(checkpoints[kind], SIZES[kind])
    graph = exported[kind] / GRAPHS[precision]
    check = check_image_engine(ENGINES[engine].image_engine(graph, precision, SIZES[kind], 2), wanted)
    assert check.places > 10
    assert check.problems == ()


def test_attention_is_two_plain_products_scaled_before_the_first(exported: dict[str, Path]) -> None:
    graph = load_graph(exported["vit"] / HALF_IMAGE_GRAPH).graph
    made = {name: node for node in graph.node for name in node.output}
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Softmax") == 2
    assert (
        kinds.count("LayerNormalization") == 8
    )  # ln_pre, two a block, ln_post twice, ln_1 of the value path
    assert "Attention" not in kinds
    assert kinds.count("Sigmoid") == 2  # QuickGELU
    for softmax in (node for node in graph.node if node.op_type == "Softmax"):
        product = made[softmax.input[0]]
        assert product.op_type == "MatMul"
        assert [made[name].op_type for name in product.input] == ["Mul", "Transpose"]
        reader = next(node for node in graph.node if softmax.output[0] in node.input)
        assert reader.op_type == "MatMul"


def test_inputs_are_dynamic_but_for_the_image_size(exported: dict[str, Path]) -> None:
    for kind, (width, height) in SIZES.items():
        shapes = {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in load_graph(exported[kind] / IMAGE_GRAPH).graph.input
        }
        assert shapes == {
            "image": ["batch", height, width, 3],
            "prompts": ["num_prompts", 24 + POSITION_WIDTH],
            "bias": ["num_prompts"],
        }


def test_gelu_is_one_node_where_the_weights_were_trained_with_it(tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(json.dumps(VIT))
    towers = create_tower(str(tmp_path / "tiny.json"), quick_gelu=False).eval()
    model = export_text_tower(ClipCheckpoint(towers.spec, towers, "none", "0" * 64, {}, ""))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Gelu") == 2
    assert not {"Sigmoid", "Erf"} & set(kinds)


@pytest.mark.parametrize("size", [(36, 32), (0, 32)])
def test_an_image_size_off_the_grid_is_refused(
    checkpoints: dict[str, ClipCheckpoint], tmp_path: Path, size: tuple[int, int]
) -> None:
    with pytest.raises(UsageError, match=f"image size {size[0]}x32: tiny takes multiples of 8"):
        export_image_graph(checkpoints["vit"], tmp_path, size)
    assert list(tmp_path.iterdir()) == []


def test_the_text_tower_is_torchs_however_its_sentences_are_padded(
    checkpoints: dict[str, ClipCheckpoint], tmp_path: Path
) -> None:
    checkpoint = checkpoints["vit"]
    model = export_text_tower(checkpoint)
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Softmax") == 2
    assert "Attention" not in kinds
    onnx.save(model, str(tmp_path / "text.onnx"))
    encoder = TorchTextEncoder(checkpoint)
    wanted = encoder.encode(SENTENCES)
    tokens = [encoder.token_ids(text) for text in SENTENCES]
    end = tokens[0][-1]
    # Nothing, or the end token once more (as other tokenizers pad), after what the mask shows.
    for padding in (0, end):
        ids = np.full((len(tokens), max(map(len, tokens))), padding, np.int64)
        mask = np.zeros_like(ids)
        for row, row_mask, sentence in zip(ids, mask, tokens, strict=True):
            row[: len(sentence)] = sentence
            row_mask[: len(sentence)] = 1
        for engine in ENGINES.values():
            found = engine.text_engine(tmp_path / "text.onnx", 2).encode(ids, mask)
            np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.whole
def test_a_whole_vit_b_32_goes_through(tmp_path: Path) -> None:
    # Its own image tower; the text tower plays no part here, and a small one spares 60 million numbers.
    vision = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}
    document = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": TEXT}
    (tmp_path / "vit.json").write_text(json.dumps(document))
    towers = create_tower(str(tmp_path / "vit.json")).eval()
    draw(towers.model.state_dict())
    checkpoint = ClipCheckpoint(towers.spec, towers, "none", "0" * 64, {}, "")
    export_image_graph(checkpoint, tmp_path)
    assert (tmp_path / "image.weights").stat().st_size == pytest.approx(2 * 87.8e6, rel=0.02)
    wanted = golden(checkpoint, (224, 224))
    for precision, name in GRAPHS.items():
        engine = onnxruntime_engine.image_engine(tmp_path / name, precision, (224, 224), 2)
        check = check_image_engine(engine, wanted)
        assert check.places > 40
        assert check.problems == ()
