"""Which layers of an image graph become int8, and the part of the graph that holds them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx
from onnx import helper

from compile.graph_file import copy_of
from firmware_cfg.errors import BundleError

IMAGE, EMBEDDING = "image", "embedding"
_PRODUCTS = ("MatMul", "Gemm")
# What may lie between the gather of the places and the output: a CLIP tower scales its boxes last, and the
# columns of a place's position may come to its embedding late.
_SHAPING = ("Reshape", "Squeeze", "Unsqueeze", "Transpose", "Cast", "Identity", "Flatten", "Mul", "Concat")


@dataclass(frozen=True, slots=True)
class Body:
    """The towers' part of an image graph: image -> embedding, cells and boxes, no prompts.

    cells: name of its second output, the grid's embeddings before places are picked, (N, cells, D + E) or
    (N, D, cells); cell_axis: which of its axes counts the cells. The third are the boxes before that.
    layers: names of the nodes that can become int8, in the order of the graph; labels: the names of their
    weights, which say more to a reader, where a layer has such a name to itself.
    """

    model: onnx.ModelProto
    cells: str
    cell_axis: int
    layers: tuple[str, ...]
    labels: dict[str, str]
    op_types: tuple[str, ...]


def body_of(model: onnx.ModelProto) -> Body:
    """The body of a float32 image graph whose weights are initializers. Raises BundleError.

    A convolutional tower's layers are its convolutions, a transformer's the products with its weights: what
    is rare in a tower (a patch embedding, a projection) is little work and much accuracy.
    """
    cells, cell_axis = _gathered(model, "place_embedding")
    body = _part(model, (EMBEDDING, cells, _gathered(model, "place_box")[0]))
    weights = {tensor.name for tensor in body.graph.initializer if len(tensor.dims) >= 2}
    convolutions, products = [], []
    for node in body.graph.node:
        if len(node.input) < 2 or node.input[1] not in weights:
            continue
        if node.op_type == "Conv":
            convolutions.append(node.name)
        elif node.op_type in _PRODUCTS:
            products.append(node.name)
    convolutional = len(convolutions) >= len(products)
    layers = convolutions if convolutional else products
    if not layers:
        raise BundleError("the image graph has no convolutions and no products with weights to quantize")
    if "" in layers or len(set(layers)) < len(layers):
        raise BundleError("the image graph's nodes need names of their own (export the checkpoint again)")
    return Body(
        body,
        cells,
        cell_axis,
        tuple(layers),
        _labels(body, layers),
        ("Conv",) if convolutional else _PRODUCTS,
    )


def _labels(body: onnx.ModelProto, layers: list[str]) -> dict[str, str]:
    weights = {node.name: node.input[1] for node in body.graph.node if node.name in set(layers)}
    count = Counter(weights.values())
    # An exporter's own names, of transposed weights for one, have no dots and say nothing.
    return {
        name: weights[name].removesuffix(".weight")
        if "." in weights[name] and count[weights[name]] == 1
        else name
        for name in layers
    }


def static_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """(width, height) of the only image that the graph takes; None where it takes more than one size."""
    image = next(value for value in model.graph.input if value.name == IMAGE)
    _, height, width, _ = image.type.tensor_type.shape.dim
    return (width.dim_value, height.dim_value) if width.dim_value and height.dim_value else None


def _gathered(model: onnx.ModelProto, output: str) -> tuple[str, int]:
    """The value of all cells that an output's places are gathered from, and along which axis."""
    made = {name: node for node in model.graph.node for name in node.output}
    node = made.get(output)
    while node is not None and node.op_type in _SHAPING:
        node = made.get(node.input[0])
    if node is None or not node.op_type.startswith("Gather"):
        raise BundleError(f"the graph's {output} is not gathered from cells (not an image graph?)")
    return str(node.input[0]), next((item.i for item in node.attribute if item.name == "axis"), 0)


def _part(model: onnx.ModelProto, outputs: tuple[str, ...]) -> onnx.ModelProto:
    """A copy of what leads to these values."""
    part = copy_of(model)
    graph = part.graph
    wanted = set(outputs)
    kept = []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for field in (graph.input, graph.initializer):
        used = [item for item in field if item.name in wanted]
        del field[:]
        field.extend(used)
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs)
    del graph.value_info[:]
    part = onnx.shape_inference.infer_shapes(part, data_prop=True)
    if [value.name for value in part.graph.input] != [IMAGE]:
        raise BundleError("the graph's embeddings depend on more than the image (not an image graph?)")
    return part
