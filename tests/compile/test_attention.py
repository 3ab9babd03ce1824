from __future__ import annotations

from importlib import import_module

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import training.torchvision_ops  # noqa: F401  (must run before open_clip imports torchvision)
from compile.attention import PlainAttention, PlainAttentionPool, plain_attention, scale_queries

AttentionPool2d = import_module("open_clip.modified_resnet").AttentionPool2d


@torch.inference_mode()
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_plain_attention_is_torchs_own(masked: bool, batch_first: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, batch_first=batch_first).eval()
    nn.init.normal_(attention.in_proj_bias)
    x = torch.randn(3, 5, 32)
    length = 5 if batch_first else 3
    mask = torch.full((length, length), -torch.inf).triu_(1) if masked else None
    wanted = attention(x, x, x, need_weights=False, attn_mask=mask)[0]
    found = PlainAttention(attention)(x, x, x, need_weights=False, attn_mask=mask)[0]
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_a_plain_pool_is_open_clips_own() -> None:
    torch.manual_seed(0)
    pool = AttentionPool2d(3, 32, 4, 24).eval()
    features = torch.randn(2, 32, 3, 3)
    torch.testing.assert_close(PlainAttentionPool(pool)(features), pool(features), atol=1e-6, rtol=0)


def test_the_layers_are_back_after_an_export_and_after_a_failed_one() -> None:
    model = nn.Sequential(nn.MultiheadAttention(8, 2), nn.Sequential(AttentionPool2d(2, 8, 2)))
    before = list(model.modules())
    with plain_attention(model):
        kinds = {type(module) for module in model.modules()}
        assert {PlainAttention, PlainAttentionPool} <= kinds
        assert not kinds & {nn.MultiheadAttention, AttentionPool2d}
        assert isinstance(model[0], PlainAttention)
        assert model[0].in_proj_weight is before[1].in_proj_weight
    assert list(model.modules()) == before
    with pytest.raises(KeyboardInterrupt), plain_attention(model):
        raise KeyboardInterrupt
    assert list(model.modules()) == before


def scores_model(operation: str, masked: bool, extra_reader: bool = False) -> onnx.ModelProto:
    """Softmax over scaled products, as transformers writes it."""
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["product"]),
        helper.make_node(operation, ["product", "factor"], ["scaled"]),
        *([helper.make_node("Add", ["mask", "scaled"], ["seen"])] if masked else []),
        helper.make_node("Softmax", ["seen" if masked else "scaled"], ["weights"], axis=-1),
        helper.make_node("Sum", ["weights", "product"] if extra_reader else ["weights"], ["out"]),
    ]
    ports = {"q": [2, 5, 8], "k": [2, 8, 5], "mask": [2, 1, 5]}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports.items()]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, 5, 5])
    factor = numpy_helper.from_array(np.float32(0.35 if operation == "Mul" else 2.8), "factor")
    graph = helper.make_graph(nodes, "drawn", infos, [out], [factor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    rng = np.random.default_rng(0)
    shapes = {"q": (2, 5, 8), "k": (2, 8, 5), "mask": (2, 1, 5)}
    feed = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("operation", ["Mul", "Div"])
def test_the_scale_moves_before_the_product(operation: str, masked: bool) -> None:
    wanted = run(scores_model(operation, masked))
    model = scale_queries(scores_model(operation, masked))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == [operation, "MatMul", *(["Add"] if masked else []), "Softmax", "Sum"]
    np.testing.assert_allclose(run(model), wanted, atol=1e-6)


def test_a_product_that_others_read_stays_what_it_is() -> None:
    wanted = run(scores_model("Mul", False, extra_reader=True))
    model = scale_queries(scores_model("Mul", False, extra_reader=True))
    assert [node.op_type for node in model.graph.node][:2] == ["MatMul", "Mul"]
    np.testing.assert_array_equal(run(model), wanted)
