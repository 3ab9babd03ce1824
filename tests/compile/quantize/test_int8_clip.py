"""The towers of open_clip in int8: small ones with drawn weights, exported as official ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from compile.export import IMAGE_GRAPH, export_image_graph
from compile.graph_file import load_graph
from compile.half import widen_weights
from compile.quantize.images import CalibrationImages
from compile.quantize.layers import body_of
from compile.quantize.run import INT8_GRAPH, QuantizeOptions, QuantizeReport, quantize_image_graph
from edge.engines import onnxruntime_engine, openvino_engine
from training.checkpoint import ClipCheckpoint, open_checkpoint, save_clip_checkpoint
from training.models.lite import POSITION_WIDTH
from training.towers.clip import create_tower

TEXT = {"width": 32, "heads": 2, "layers": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
}
WIDTH, SIZE = 32, (128, 64)
# vit: four products a block, of which the last block's value and output serve the cells too, and two
# projections. resnet: three in the stem, three in each of four blocks and their four shortcuts.
LAYERS = {"vit": 12, "resnet": 19}


def drawn_checkpoint(folder: Path, vision: dict[str, Any]) -> ClipCheckpoint:
    config = folder / "small.json"
    config.write_text(json.dumps({"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": TEXT}))
    tower = create_tower(str(config))
    torch.manual_seed(3)
    for name, value in tower.model.state_dict().items():
        if value.is_floating_point() and value.ndim > 1:
            value.copy_((value.normal_() * value[0].numel() ** -0.5).half())
        elif name.endswith("running_var"):
            value.fill_(1.0)
    save_clip_checkpoint(folder / "saved", tower, "none", {}, "")
    checkpoint = open_checkpoint(folder / "saved")
    assert isinstance(checkpoint, ClipCheckpoint)
    return checkpoint


@pytest.fixture(scope="module", params=CONFIGS)
def clip(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pictures: Path
) -> tuple[str, Path, QuantizeReport]:
    """A family's name, the folder with its float32 and int8 graph, and what quantization reported."""
    folder = tmp_path_factory.mktemp(request.param)
    export_image_graph(drawn_checkpoint(folder, CONFIGS[request.param]), folder, SIZE)
    images = CalibrationImages.from_folder(pictures, ((640, 384), (256, 256)))
    options = QuantizeOptions(most_float=0)
    report = quantize_image_graph(
        folder / IMAGE_GRAPH, folder / INT8_GRAPH, images, options, Console(quiet=True)
    )
    return request.param, folder, report


def test_a_transformer_quantizes_products_with_weights_a_resnet_convolutions(
    clip: tuple[str, Path, QuantizeReport],
) -> None:
    name, folder, report = clip
    body = body_of(widen_weights(load_graph(folder / IMAGE_GRAPH)))
    assert body.op_types == {"vit": ("MatMul", "Gemm"), "resnet": ("Conv",)}[name]
    assert len(set(body.labels.values())) == report.layers == len(body.layers) == LAYERS[name]
    model = load_graph(folder / INT8_GRAPH)
    stored = {tensor.name for tensor in model.graph.initializer}
    made = {output: node for node in model.graph.node for output in node.output}
    weighted = []
    for node in model.graph.node:
        steps = [made[value] for value in node.input if value in made]
        if any(step.op_type == "DequantizeLinear" and step.input[0] in stored for step in steps):
            assert [step.op_type for step in steps] == ["DequantizeLinear"] * 2
            weighted.append(node.name)
    assert sorted(weighted) == sorted(body.layers)


@pytest.mark.parametrize("backend", [openvino_engine, onnxruntime_engine])
def test_both_cpu_engines_run_it_close_to_float32(
    clip: tuple[str, Path, QuantizeReport], backend: Any, pictures: Path
) -> None:
    _, folder, _ = clip
    images = CalibrationImages.from_folder(pictures, (SIZE,))
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(5, WIDTH + POSITION_WIDTH)).astype(np.float32)
    bias = np.zeros(5, np.float32)
    found = {}
    for precision, file in (("fp32", IMAGE_GRAPH), ("int8", INT8_GRAPH)):
        engine = backend.image_engine(folder / file, precision, SIZE, 2)
        outputs = [engine.infer(images.tile(path), rows, bias) for path in images.paths]
        engine.close()
        found[precision] = np.concatenate([output.embedding for output in outputs])
    cosine = (found["fp32"] * found["int8"]).sum(axis=1)
    assert cosine.min() > 0.99
    assert np.abs(found["fp32"] - found["int8"]).max() > 1e-4
