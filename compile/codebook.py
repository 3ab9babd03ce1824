"""Embedding tables at four bits a number: blocks of 64, each of codes for 16 levels and one float16 scale.

The levels are those of NormalFloat (Dettmers et al. 2023, QLoRA): each stands for an equal share of a normal
distribution, which a row's numbers come close to. On MiniLM's word table the squared error is 0.7% of the
table's power; the best levels for that very table, found by clustering, would win a twentieth of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from firmware_cfg.errors import RemoteclipError

BLOCK = 64
LEVELS = np.array(
    [
        -1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0,
        0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
    ],
    np.float32,
)  # fmt: skip
_EDGES = (LEVELS[1:] + LEVELS[:-1]) / 2
# Of a block's largest magnitude, what the outermost levels stand for: cutting off outliers serves the rest.
_CLIPS = np.linspace(0.6, 1.05, 10, dtype=np.float32)
_ROWS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class PackedTable:
    """An embedding table (R, C) at four bits a number.

    packed: (R, C / 64, 32) uint8, in each byte the code of a number of the block's first half (low) and of
    the number 32 further on (high); scale: (R, C / 64, 1) float16.
    """

    packed: NDArray[np.uint8]
    scale: NDArray[np.float16]


def pack_table(table: NDArray[np.float32]) -> PackedTable:
    """Choose every block's scale by the squared error that is left. C must be a multiple of 64.

    Raises RemoteclipError where float16 cannot hold a scale.
    """
    if np.abs(table).max() * _CLIPS[-1] > np.finfo(np.float16).max:
        raise RemoteclipError(
            "embedding table: numbers beyond what float16 holds (did the training diverge?)"
        )
    parts = [_pack(table[start : start + _ROWS_AT_ONCE]) for start in range(0, len(table), _ROWS_AT_ONCE)]
    return PackedTable(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def table_tensors(name: str, table: PackedTable) -> list[onnx.TensorProto]:
    """The initializers that `lookup_nodes` reads in the place of initializer `name`."""
    width = np.array([table.packed.shape[1] * BLOCK])
    arrays: dict[str, NDArray[Any]] = {
        "packed": table.packed,
        "scale": table.scale,
        "levels": LEVELS,
        "width": width,
    }
    arrays["sixteen"] = np.array(16, np.int32)
    return [numpy_helper.from_array(array, f"{name}_{part}") for part, array in arrays.items()]


def lookup_nodes(gather: onnx.NodeProto) -> list[onnx.NodeProto]:
    """What replaces the Gather of a table's rows: the packed rows are gathered, then widened.

    Plain integer arithmetic, as every runtime has it; ONNX's own four-bit types not all do.
    """
    (name, index), out = gather.input, gather.output[0]
    return [
        helper.make_node("Gather", [f"{name}_packed", index], [f"{out}_packed"]),
        helper.make_node("Gather", [f"{name}_scale", index], [f"{out}_half"]),
        helper.make_node("Cast", [f"{out}_half"], [f"{out}_scale"], to=TensorProto.FLOAT),
        helper.make_node("Cast", [f"{out}_packed"], [f"{out}_pair"], to=TensorProto.INT32),
        helper.make_node("Mod", [f"{out}_pair", f"{name}_sixteen"], [f"{out}_low"]),
        helper.make_node("Div", [f"{out}_pair", f"{name}_sixteen"], [f"{out}_high"]),
        helper.make_node("Concat", [f"{out}_low", f"{out}_high"], [f"{out}_code"], axis=-1),
        helper.make_node("Gather", [f"{name}_levels", f"{out}_code"], [f"{out}_level"]),
        helper.make_node("Mul", [f"{out}_level", f"{out}_scale"], [f"{out}_block"]),
        helper.make_node("Shape", [index], [f"{out}_count"]),
        helper.make_node("Concat", [f"{out}_count", f"{name}_width"], [f"{out}_shape"], axis=0),
        helper.make_node("Reshape", [f"{out}_block", f"{out}_shape"], [out]),
    ]


def _pack(rows: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    blocks = rows.reshape(len(rows), -1, BLOCK)
    largest = np.abs(blocks).max(axis=2, keepdims=True)
    best = np.full(largest.shape, np.inf, np.float32)
    scales = np.ones(largest.shape, np.float16)
    codes = np.zeros(blocks.shape, np.uint8)
    for clip in _CLIPS:
        half = (largest * clip).astype(np.float16)
        scale = np.where(half == 0, np.float16(1), half)
        wide = scale.astype(np.float32)
        code = np.searchsorted(_EDGES, blocks / wide).astype(np.uint8)
        error = np.square(LEVELS[code] * wide - blocks).sum(axis=2, keepdims=True)
        better = error < best
        best = np.where(better, error, best)
        scales = np.where(better, scale, scales)
        codes = np.where(better, code, codes)
    first, second = codes[..., : BLOCK // 2], codes[..., BLOCK // 2 :]
    return first + 16 * second, scales
