"""ONNX export of the two graphs that fly: the three-input image graph and the text tower."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from firmware_cfg.errors import RemoteclipError
from training.models.lite import POSITION_WIDTH
from training.models.lookup_graph import INPUTS, OUTPUTS, LookupGraph
from training.models.text import TextTower

OPSET = 20
_EXPORTED = "exported_"
GRID = 32  # image sides are multiples of this


def export_image_graph(graph: LookupGraph, width: int, file: Path) -> None:
    """Write the image graph: dynamic batch, height, width (multiples of 32) and prompts, weights as float16.

    graph: in eval mode; width: D, the embedding width. The weights are stored in half precision and widened
    by a Cast that every runtime folds at load: the checkpoint's values are half precision numbers already, so
    nothing is lost. Raises RemoteclipError when the checker refuses the graph.
    """
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
    _save(halve_weights(model), file)


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
    return _rename_outputs(program.model_proto)


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


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store float32 initializers of more than 64 elements as float16, widened by a Cast in the graph.

    Raises RemoteclipError where float16 cannot hold a weight.
    """
    casts = []
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if array.dtype != "float32" or array.size <= 64:
            continue
        name = initializer.name
        if np.abs(array).max() > np.finfo(np.float16).max:
            raise RemoteclipError(
                f"{name}: weights beyond what float16 holds (did the training run diverge?)"
            )
        initializer.CopyFrom(numpy_helper.from_array(array.astype("float16"), f"{name}_half"))
        casts.append(
            helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_widen", to=onnx.TensorProto.FLOAT)
        )
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    return model


def _save(model: onnx.ModelProto, file: Path) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise RemoteclipError(f"{file}: the exported graph is not valid ONNX: {error}") from error
    onnx.save(model, str(file))


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
