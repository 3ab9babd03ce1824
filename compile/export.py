"""ONNX export of the two graphs that fly: the three-input image graph and the text tower."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, cast

import onnx
import onnxslim  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from compile.attention import plain_attention, scale_queries
from compile.graph_file import OPSET, copy_of, save_graphs
from compile.half import halve_body, halve_weights
from edge.engines.base import TEXT_INPUTS, TEXT_OUTPUT
from firmware_cfg.errors import RemoteclipError, UsageError
from training.checkpoint import AnyCheckpoint, ClipCheckpoint
from training.models.lookup_graph import INPUTS, OUTPUTS, LookupGraph
from training.models.text import MAX_TOKENS, TextTower
from training.torch_engine import model_facts, text_tower
from training.towers.base import unit
from training.towers.clip_text import ClipText
from training.towers.lookup import ClipLookup

IMAGE_GRAPH = "image.onnx"
HALF_IMAGE_GRAPH = "image.fp16.onnx"
IMAGE_WEIGHTS = "image.weights"
GRID = 32  # image sides are multiples of this
_EXPORTED = "exported_"
# onnxslim would flatten every product of a transformer into a Gemm between two Reshapes.
_UNWANTED = ["FusionGemm", "FusionGemmMul", "FusionGemmAdd"]


def export_image_graph(
    checkpoint: AnyCheckpoint, folder: Path, image_size: tuple[int, int] | None = None
) -> None:
    """Write the image graph into `folder`: image.onnx, image.fp16.onnx and the weights that they share.

    image.onnx computes in float32, image.fp16.onnx in float16 up to the embeddings. Both read the float16
    tensors of image.weights: most checkpoints hold such numbers, others are rounded. image_size: see
    `image_graph`. Raises RemoteclipError where the graph cannot be exported, OSError from the disk.
    """
    save_image_graphs(image_graph(checkpoint, image_size), folder)


def image_graph(checkpoint: AnyCheckpoint, image_size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """The three-input graph (see LookupGraph) as a simplified float32 model with its weights inside.

    Batch and number of prompts are dynamic. A light tower takes any image whose sides are multiples of 32.
    Raises RemoteclipError.
    """
    facts = model_facts(checkpoint)
    batch, prompts = torch.export.Dim("batch"), torch.export.Dim("num_prompts")
    image: dict[int, Any] = {0: batch}
    graph: nn.Module
    if isinstance(checkpoint, ClipCheckpoint):
        width, height = image_size or facts.image_sizes[0]
        if width < facts.stride or height < facts.stride or width % facts.stride or height % facts.stride:
            raise UsageError(
                f"image size {width}x{height}: {checkpoint.spec.model} takes multiples of {facts.stride}"
            )
        graph = ClipLookup(checkpoint.towers, (width, height))
        names: tuple[str | None, ...] = ("batch", None, None, None)
    else:
        if image_size is not None:
            raise UsageError("a light tower's graph takes images of any size (leave the image size out)")
        width, height = GRID * 10, GRID * 9
        graph = LookupGraph(checkpoint.image)
        image[1] = GRID * torch.export.Dim("rows", min=8, max=64)
        image[2] = GRID * torch.export.Dim("columns", min=8, max=64)
        names = ("batch", "height", "width", None)
    # An example batch of 1 would freeze the batch dimension.
    example = (
        torch.zeros(2, height, width, 3, dtype=torch.uint8),
        torch.zeros(7, facts.row_width),
        torch.zeros(7),
    )
    model = _export(graph, example, INPUTS, OUTPUTS, (image, {0: prompts}, {0: prompts}))
    _name_dimensions(model, {"image": names, "prompts": ("num_prompts", None), "bias": ("num_prompts",)})
    return model


def save_image_graphs(model: onnx.ModelProto, folder: Path) -> None:
    """Write both precisions of a float32 image graph, and their weights once; see `export_image_graph`."""
    half = halve_body(model)
    models = {IMAGE_GRAPH: halve_weights(copy_of(model)), HALF_IMAGE_GRAPH: half}
    save_graphs(folder, models, IMAGE_WEIGHTS)


def export_text_tower(tower: AnyCheckpoint | TextTower | ClipText) -> onnx.ModelProto:
    """A text tower as float32 ONNX: input_ids, attention_mask (batch, tokens) int64 -> embedding (batch, D).

    Up to as many tokens as the tower reads; of MiniLM's positions only those are kept.
    """
    text = tower if isinstance(tower, nn.Module) else text_tower(tower)
    module: nn.Module
    if isinstance(text, ClipText):
        module, limit = _MaskedClipText(text), text.context_length
    else:
        module, limit = _shortened(text), MAX_TOKENS
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", min=3, max=limit)
    ids = torch.ones(2, 9, dtype=torch.int64)
    shapes = ({0: batch, 1: tokens}, {0: batch, 1: tokens})
    model = _export(module, (ids, ids.clone()), TEXT_INPUTS, (TEXT_OUTPUT,), shapes)
    _name_dimensions(model, dict.fromkeys(TEXT_INPUTS, ("batch", "tokens")))
    return scale_queries(model)


class _MaskedClipText(nn.Module):
    """ClipText whose attention mask keeps padding from being taken for the end token, as some pad with it.

    Its causal mask is finite, as every number in a graph should be; the softmax of it is 0 all the same.
    """

    causal: Tensor

    def __init__(self, text: ClipText) -> None:
        super().__init__()
        self.text = text
        length = text.context_length
        causal = torch.full((length, length), torch.finfo(torch.float16).min).triu_(1)
        self.register_buffer("causal", causal, persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        text, (count, length) = self.text, input_ids.shape
        x = text.token_embedding(input_ids) + text.positional_embedding[:length]
        x = text.ln_final(text.transformer(x, attn_mask=self.causal[:length, :length]))
        end = (input_ids * attention_mask).argmax(dim=1)  # the end token has the highest number
        return unit(x[torch.arange(count, device=x.device), end] @ text.text_projection)


def _shortened(text: TextTower) -> nn.Module:
    """The tower without the positions of tokens that it never reads: 64 rows of 512."""
    short: Any = copy.deepcopy(text)
    table = short.minilm.bert.embeddings.position_embeddings
    table.weight.data = table.weight.data[:MAX_TOKENS].clone()
    return cast(nn.Module, short)


def _export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shapes: Any,
) -> onnx.ModelProto:
    with torch.no_grad(), plain_attention(module), _quiet():
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
        simple: onnx.ModelProto = onnxslim.slim(
            _rename_outputs(program.model_proto), skip_fusion_patterns=_UNWANTED
        )
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


def _name_dimensions(model: onnx.ModelProto, names: dict[str, tuple[str | None, ...]]) -> None:
    """Give graph inputs readable dimension names; a product such as 32*rows would read as an expression."""
    for value in model.graph.input:
        for dimension, name in zip(value.type.tensor_type.shape.dim, names[value.name], strict=True):
            if not name:
                continue
            if not dimension.dim_param:
                raise RemoteclipError(f"{value.name}: the exporter fixed {name} at {dimension.dim_value}")
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
