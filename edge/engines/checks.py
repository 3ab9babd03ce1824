"""What every engine checks before and after its runtime sees anything."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from edge.engines.base import F32, I64, U8
from firmware_cfg.errors import EngineError


def check_ports(graph: Path, kind: str, found: Collection[str], wanted: Collection[str]) -> None:
    """Refuse a graph whose inputs or outputs (`kind`) are not the contract's. Raises EngineError."""
    if missing := [name for name in wanted if name not in found]:
        raise EngineError(f"{graph}: the graph has no {kind} {', '.join(missing)} (compile the bundle again)")


def check_image_inputs(
    image: U8, prompts: F32, bias: F32, image_size: tuple[int, int], row_width: int | None
) -> None:
    """Refuse arrays that do not fit the graph. Raises EngineError.

    `row_width` is D + E, or None where the graph does not state it.
    """
    width, height = image_size
    if (
        image.dtype != np.uint8
        or image.ndim != 4
        or image.shape[0] < 1
        or image.shape[1:] != (height, width, 3)
    ):
        raise EngineError(
            f"image is {image.dtype} {image.shape}, expected uint8 (1 or more, {height}, {width}, 3)"
        )
    if (
        prompts.dtype != np.float32
        or prompts.ndim != 2
        or prompts.shape[0] < 1
        or (row_width is not None and prompts.shape[1] != row_width)
    ):
        columns = "D + E" if row_width is None else row_width
        raise EngineError(
            f"prompts is {prompts.dtype} {prompts.shape}, expected float32 (1 or more, {columns})"
        )
    if bias.dtype != np.float32 or bias.shape != (prompts.shape[0],):
        raise EngineError(f"bias is {bias.dtype} {bias.shape}, expected float32 ({prompts.shape[0]},)")


def check_text_inputs(input_ids: I64, attention_mask: I64) -> None:
    """Refuse token arrays that do not fit the graph. Raises EngineError."""
    for name, array in (("input_ids", input_ids), ("attention_mask", attention_mask)):
        if array.dtype != np.int64 or array.ndim != 2 or 0 in array.shape:
            raise EngineError(f"{name} is {array.dtype} {array.shape}, expected int64 (batch, tokens)")
    if input_ids.shape != attention_mask.shape:
        raise EngineError(f"input_ids is {input_ids.shape} but attention_mask is {attention_mask.shape}")
