"""Which layers hurt in int8: each in turn is left float, and the outputs of both graphs compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from compile.graph_file import copy_of
from compile.quantize.layers import EMBEDDING, IMAGE, Body
from compile.quantize.qdq import insert_qdq
from compile.quantize.ranges import Activations
from edge.engines.base import F32, U8
from training.progress import track

_HARDEST = 6  # tiles that ranks are made on


@dataclass(frozen=True, slots=True)
class Closeness:
    """Mean cosines between the outputs of a quantized and a float body: of images and of their cells."""

    embedding: float
    cells: float

    @property
    def worse(self) -> float:
        """The lower of the two."""
        return min(self.embedding, self.cells)


@dataclass(frozen=True, slots=True)
class Rank:
    """A layer, and how close the graph comes on its hardest tiles when this layer is left float too."""

    layer: str
    left_float: Closeness


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What a search found.

    everything: closeness with all layers int8; chosen: with those in `floats` left float; ranks: every other
    layer, the one that wins most first, empty where no search was needed. Layers go by their weights' names.
    """

    everything: Closeness
    chosen: Closeness
    floats: tuple[str, ...]
    ranks: tuple[Rank, ...]


class Judge:
    """Compares quantized bodies with the float one on a few tiles, (1, H, W, 3) uint8 each."""

    def __init__(self, body: Body, activations: Activations, tiles: Sequence[U8]) -> None:
        self._body = body
        self._activations = activations
        self._tiles = list(tiles)
        self._expected = list(self._runs(body.model, self._tiles))
        self._quantized = insert_qdq(body.model, activations, body.layers, body.op_types)
        losses = [1 - self._closeness(self._quantized, [i]).worse for i in range(len(self._tiles))]
        self._hardest = sorted(range(len(losses)), key=lambda i: -losses[i])[:_HARDEST]

    def closeness(self, floats: Sequence[str]) -> Closeness:
        """How close the body comes with all layers int8 but these."""
        layers = [name for name in self._body.layers if name not in floats]
        model = insert_qdq(self._body.model, self._activations, layers, self._body.op_types)
        return self._closeness(model, range(len(self._tiles)))

    def sketch(self, floats: Sequence[str]) -> Closeness:
        """About the same on the tiles that lose most with all layers int8: the quick way, for ranks.

        Their inputs and weights are float again, while values that other nodes share stay quantized.
        """
        model = floats_again(self._quantized, self._body.model, floats)
        return self._closeness(model, self._hardest)

    def _closeness(self, model: onnx.ModelProto, chosen: Sequence[int]) -> Closeness:
        found = self._runs(model, [self._tiles[i] for i in chosen])
        pairs = list(zip([self._expected[i] for i in chosen], found, strict=True))
        return Closeness(
            embedding=float(np.mean([_cosine(want[0], got[0]).mean() for want, got in pairs])),
            cells=float(
                np.mean([_cosine(self._rows(want[1]), self._rows(got[1])).mean() for want, got in pairs])
            ),
        )

    def _rows(self, cells: F32) -> F32:
        """A cell a row, whichever way the graph has them."""
        return np.moveaxis(cells, self._body.cell_axis, 1)

    def _runs(self, model: onnx.ModelProto, tiles: Sequence[U8]) -> Iterator[tuple[F32, F32]]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [EMBEDDING, self._body.cells]
        return (tuple(session.run(names, {IMAGE: tile})) for tile in tiles)


def floats_again(
    quantized: onnx.ModelProto, model: onnx.ModelProto, layers: Sequence[str]
) -> onnx.ModelProto:
    """A copy of a quantized graph in which these layers read what they read in the float one."""
    changed = copy_of(quantized)
    names = set(layers)
    before = {node.name: node for node in model.graph.node if node.name in names}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    known = {tensor.name for tensor in changed.graph.initializer}
    for node in changed.graph.node:
        if node.name in before:
            node.input[:] = before[node.name].input
            lost = [weights[name] for name in node.input if name in weights and name not in known]
            changed.graph.initializer.extend(lost)
            known.update(tensor.name for tensor in lost)
    return changed


def search(
    judge: Judge, body: Body, start: Sequence[str], target: float, most: int, least_win: float
) -> Sensitivity:
    """Leave float what hurts most, until both mean cosines reach `target`.

    The layers of `start` are left float in any case. At most `most` others, each of which has to take away
    `least_win` of the loss that is left (0 to 1). Deterministic: layers that win alike come in the order of
    the graph.
    """
    everything = judge.closeness(())
    floats = list(start)
    chosen = judge.closeness(floats) if floats else everything
    ranks: list[tuple[str, Closeness]] = []
    if chosen.worse < target and most > 0:
        found = track(body.layers, "looking for layers that hurt in int8")
        ranks = [(layer, judge.sketch((*floats, layer))) for layer in found if layer not in floats]
        ranks.sort(key=lambda rank: -rank[1].worse)
        for layer, _ in ranks[:most]:
            tried = judge.closeness((*floats, layer))
            if 1 - tried.worse > (1 - least_win) * (1 - chosen.worse):
                break
            floats.append(layer)
            chosen = tried
            if chosen.worse >= target:
                break
    return Sensitivity(
        everything,
        chosen,
        tuple(body.labels[layer] for layer in floats),
        tuple(Rank(body.labels[layer], close) for layer, close in ranks),
    )


def _cosine(a: F32, b: F32) -> F32:
    return np.asarray(
        (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-12)
    )
