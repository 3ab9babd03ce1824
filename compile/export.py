"""ONNX export of the two graphs that fly: the three-input image graph and the text tower."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import onnxslim  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from compile.graph_file import OPSET, copy_of, save_graphs
from compile.half import halve_body, halve_weights
from firmware_cfg.errors import RemoteclipError, UsageError
from training.checkpoint import AnyCheckpoint, ClipCheckpoint
from training.models.lite import POSITION_WIDTH
from training.models.lookup_graph import INPUTS, OUTPUTS, LookupGraph
from training.models.text import TextTower

IMAGE_GRAPH = "image.onnx"
HALF_IMAGE_GRAPH = "image.fp16.onnx"
IMAGE_WEIGHTS = "image.weights"
GRID = 32  # image sides are multiples of this
_EXPORTED = "exported_"


def export_image_graph(
    checkpoint: AnyCheckpoint, folder: Path, image_size: tuple[int, int] | None = None
) -> None:
    """Write the image graph into `folder`: image.onnx, image.fp16.onnx and the weights that they share.

    image.onnx computes in float32, image.fp16.onnx in float16 up to the embeddings. Both read the float16
    tensors of image.weights: the checkpoint's values are half precision numbers already. image_size: see
    `image_graph`. Raises RemoteclipError where the graph cannot be exported, OSError from the disk.
    """
    save_image_graphs(image_graph(checkpoint, image_size), folder)


def image_graph(checkpoint: AnyCheckpoint, image_size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """The three-input graph (see LookupGraph) as a simplified float32 model with its weights inside.

    Batch and number of prompts are dynamic. A light tower takes any image whose sides are multiples of 32.
    Raises RemoteclipError.
    """
    if isinstance(checkpoint, ClipCheckpoint):
        raise UsageError(f"{checkpoint.spec.model}: only remoteclip-lite models can be exported")
    if image_size is not None:
        raise UsageError("a light tower's graph takes images of any size (leave the image size out)")
    graph, width = LookupGraph(checkpoint.image), checkpoint.spec.embedding_width
    batch, prompts = torch.export.Dim("batch"), torch.export.Dim("num_prompts")
    rows, columns = torch.export.Dim("rows", min=8, max=64), torch.export.Dim("columns", min=8, max=64)
    # An example batch of 1 would freeze the batch dimension.
    example = (
        torch.zeros(2, GRID * 9, GRID * 10, 3, dtype=torch.uint8),
        torch.zeros(7, width + POSITION_WIDTH),
        torch.zeros(7),
    )
    shapes = ({0: batch, 1: GRID * rows, 2: GRID * columns}, {0: prompts}, {0: prompts})
    model = _export(graph, example, INPUTS, OUTPUTS, shapes)
    _name_dimensions(
        model,
        {
            "image": ("batch", "height", "width", 3),
            "prompts": ("num_prompts", None),
            "bias": ("num_prompts",),
        },
    )
    return model


def save_image_graphs(model: onnx.ModelProto, folder: Path) -> None:
    """Write both precisions of a float32 image graph, and their weights once; see `export_image_graph`."""
    half = halve_body(model)
    models = {IMAGE_GRAPH: halve_weights(copy_of(model)), HALF_IMAGE_GRAPH: half}
    save_graphs(folder, models, IMAGE_WEIGHTS)


def export_text_tower(text: TextTower) -> onnx.ModelProto:
    """The text tower as float32 ONNX: input_ids, attention_mask (batch, tokens) -> embedding (batch, D)."""
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", min=3, max=64)
    ids = torch.ones(2, 9, dtype=torch.int64)
    shapes = ({0: batch, 1: tokens}, {0: batch, 1: tokens})
    return _export(text, (ids, ids.clone()), ("input_ids", "attention_mask"), ("embedding",), shapes)


def _export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shapes: Any,
) -> onnx.ModelProto:
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module.eval(),
            example,
            input_names=list(inputs),
            output_names=[f"{_EXPORTED}{name}" for name in outputs],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
        if program is None:
            raise RemoteclipError(
                f"{type(module).__name__}: torch gave no ONNX program (is onnxscript installed?)"
            )
        simple: onnx.ModelProto = onnxslim.slim(_rename_outputs(program.model_proto))
    return simple


def _rename_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give the outputs their names: the exporter would give one to an inner value too."""
    final = {value.name: value.name.removeprefix(_EXPORTED) for value in model.graph.output}
    inner = {name: f"{name}_inner" for name in final.values()}
    names = inner | final
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.output, *model.graph.value_info):
        value.name = names.get(value.name, value.name)
    return model


def _name_dimensions(model: onnx.ModelProto, names: dict[str, tuple[str | int | None, ...]]) -> None:
    """Give graph inputs readable dimension names; a product such as 32*rows would read as an expression."""
    for value in model.graph.input:
        for dimension, name in zip(value.type.tensor_type.shape.dim, names[value.name], strict=True):
            if isinstance(name, str):
                dimension.dim_param = name


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its passes on stdout and as warnings; what fails still raises."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
