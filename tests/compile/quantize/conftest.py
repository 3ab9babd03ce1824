"""A small image graph in which one layer cannot bear int8, and folders of drawn pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compile.golden import synthetic_scene

HURTS = "hurts"
CHANNELS = 8


def small_image_graph() -> onnx.ModelProto:
    """Three convolutions of stride 8, 4 and 2 altogether 64, and a lookup of two places.

    The first channel that `hurts` reads is a thousand times larger than the others, and its weights there are
    zero: one scale for all channels leaves nothing of the rest.
    """
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    first, second, third = (
        weights(CHANNELS, 3, 8, 8),
        weights(CHANNELS, CHANNELS, 4, 4),
        weights(16, CHANNELS, 2, 2),
    )
    first[0] *= 1000.0
    second[:, 0] = 0.0
    constants = {
        "low": np.float32(0.0),
        "cells_shape": np.array([0, 16, -1], np.int64),
        "boxes_shape": np.array([0, 4, -1], np.int64),
        "two": np.array([2], np.int64),
        "axes": np.array([1], np.int64),
        "last": np.array([2], np.int64),
        "easy.weight": first,
        f"{HURTS}.weight": second,
        "fine.weight": third,
        "fine.bias": weights(16),
        "box.weight": weights(4, 16, 1, 1),
        "mean_axes": np.array([2], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["pixels"], "cast", to=TensorProto.FLOAT),
        node("Transpose", ["pixels"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "easy.weight"], ["c1"], "conv_1", strides=[8, 8]),
        node("Clip", ["c1", "low"], ["r1"], "clip_1"),
        node("Conv", ["r1", f"{HURTS}.weight"], ["c2"], "conv_2", strides=[4, 4]),
        node("Clip", ["c2", "low"], ["r2"], "clip_2"),
        node("Conv", ["r2", "fine.weight", "fine.bias"], ["c3"], "conv_3", strides=[2, 2]),
        node("Conv", ["c3", "box.weight"], ["b"], "conv_box"),
        node("Reshape", ["c3", "cells_shape"], ["flat"], "flat"),
        node("Transpose", ["flat"], ["cells"], "cells", perm=[0, 2, 1]),
        node("Reshape", ["b", "boxes_shape"], ["flat_boxes"], "flat_boxes"),
        node("Transpose", ["flat_boxes"], ["boxes"], "boxes", perm=[0, 2, 1]),
        node("ReduceMean", ["flat", "mean_axes"], ["embedding"], "mean", keepdims=0),
        node("Transpose", ["prompts"], ["columns"], "columns", perm=[1, 0]),
        node("MatMul", ["embedding", "columns"], ["scene"], "scene"),
        node("MatMul", ["cells", "columns"], ["products"], "products"),
        node("Add", ["products", "bias"], ["logits"], "logits"),
        node("ReduceMax", ["logits", "last"], ["best"], "best", keepdims=0),
        node("TopK", ["best", "two"], ["top", "index"], "topk"),
        node("Unsqueeze", ["index", "last"], ["column"], "column"),
        node("Shape", ["cells"], ["cells_size"], "cells_size", start=2),
        node("Shape", ["logits"], ["logits_size"], "logits_size", start=2),
        node("Shape", ["boxes"], ["boxes_size"], "boxes_size", start=2),
        *(
            part
            for value, output in (
                ("cells", "place_embedding"),
                ("logits", "place_logit"),
                ("boxes", "place_box"),
            )
            for part in (
                node("Concat", ["one", "one", f"{value}_size"], [f"{value}_to"], f"{value}_to", axis=0),
                node("Expand", ["column", f"{value}_to"], [f"{value}_index"], f"{value}_index"),
                node("GatherElements", [value, f"{value}_index"], [output], output, axis=1),
            )
        ),
    ]
    constants["one"] = np.array([1], np.int64)
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3]),
            helper.make_tensor_value_info("prompts", TensorProto.FLOAT, ["num_prompts", 16]),
            helper.make_tensor_value_info("bias", TensorProto.FLOAT, ["num_prompts"]),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
            for name, rank in (
                ("scene", 2),
                ("embedding", 2),
                ("place_box", 3),
                ("place_embedding", 3),
                ("place_logit", 3),
            )
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture(scope="session")
def small_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small image graph as a file."""
    file = tmp_path_factory.mktemp("small") / "image.onnx"
    onnx.save(small_image_graph(), str(file))
    return file


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight drawn aerial scenes of 256 x 256 pixels, some of them in a folder below."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "flight_2").mkdir()
    for seed in range(8):
        file = folder / ("flight_2" if seed > 4 else ".") / f"{seed}.png"
        assert cv2.imwrite(str(file), synthetic_scene(seed, (256, 256))[..., ::-1])
    return folder
