"""The whole of it: image.onnx -> image.int8.onnx, and what was found on the way."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from pathlib import Path
from typing import Any

from rich.console import Console

from compile.graph_file import load_graph, write_graph
from compile.half import widen_weights
from compile.quantize.images import CalibrationImages
from compile.quantize.layers import Body, body_of, static_size
from compile.quantize.qdq import insert_qdq, store_small
from compile.quantize.ranges import measure_activations
from compile.quantize.sensitivity import Judge, Sensitivity, search
from firmware_cfg.errors import BundleError, UsageError

INT8_GRAPH = "image.int8.onnx"


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """How hard to try.

    floats: layers, by the names of their weights, that stay float without being asked for; target: mean
    cosine to float32, of images and of cells, below which layers are left float; most_float: at most so many
    of them, 0 for no search; least_win: share of the remaining loss that each has to take away; judged_on:
    images that the search compares on.
    """

    floats: tuple[str, ...] = ()
    target: float = 0.9998
    most_float: int = 3
    least_win: float = 0.2
    judged_on: int = 24


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """What quantization did.

    layers: number of layers that could become int8; sensitivity: what was left float, and why; images:
    calibration images used; warning: empty, or what the user should know of them; size: bytes of the file.
    """

    layers: int
    sensitivity: Sensitivity
    images: int
    warning: str
    size: int

    def facts(self) -> dict[str, Any]:
        """The same for a manifest or a report, as JSON."""
        found = self.sensitivity
        return {
            "layers": self.layers,
            "float_layers": list(found.floats),
            "images": self.images,
            "warning": self.warning,
            "cosine": {"images": round(found.chosen.embedding, 5), "cells": round(found.chosen.cells, 5)},
            "cosine_all_int8": {
                "images": round(found.everything.embedding, 5),
                "cells": round(found.everything.cells, 5),
            },
        }


def quantize_image_graph(
    source: Path,
    out: Path,
    images: CalibrationImages,
    options: QuantizeOptions,
    console: Console,
) -> QuantizeReport:
    """Quantize a float32 image graph (image.onnx of `export`) and write it atomically.

    Raises BundleError where the source is not such a graph, DataError for an image that cannot be read,
    OSError from the disk.
    """
    model = widen_weights(load_graph(source))
    try:
        body = body_of(model)
    except BundleError as error:
        raise BundleError(f"{source}: {error}") from error
    if size := static_size(model):
        images = images.of_size(size)
    if images.warning:
        console.print(f"warning: {images.warning}", style="yellow", markup=False, soft_wrap=True)
    activations = measure_activations(body, images)
    # The smallest tile: a search of as many runs as there are layers, and ranks hardly depend on the size.
    few = images.few(options.judged_on).of_size(min(images.image_sizes, key=prod))
    console.print("comparing with float32")
    judge = Judge(body, activations, [few.tile(path) for path in few.paths])
    start = [layer_called(body, label, source) for label in options.floats]
    found = search(judge, body, start, options.target, options.most_float, options.least_win)
    layers = [name for name in body.layers if body.labels[name] not in found.floats]
    quantized = store_small(insert_qdq(model, activations, layers, body.op_types))
    write_graph(quantized, out)
    return QuantizeReport(len(body.layers), found, len(images.paths), images.warning, out.stat().st_size)


def layer_called(body: Body, label: str, source: Path) -> str:
    """The layer whose weights have this name. Raises UsageError with the nearest ones."""
    for layer, own in body.labels.items():
        if own == label:
            return layer
    near = ", ".join(get_close_matches(label, body.labels.values(), cutoff=0.3)) or "none is like it"
    raise UsageError(f"{source}: no layer {label} to leave float ({near})")
