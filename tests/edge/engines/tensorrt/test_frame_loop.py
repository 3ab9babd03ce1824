"""The frame loop on a GPU that makes its tiles itself: the same places as on the processor."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.frames import Frame, NV12Image
from edge.pipeline import FrameResult, Pipeline
from firmware_cfg.prompt_list import load_prompt_bytes

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
LIST = b"prompts: [{id: red, text: red, threshold: 0.5}]\nbackground: [grey grey]\n"
#: Full-range BT.601 red, and the grey around it: Y, U and V.
RED, GREY = (76, 84, 255), (114, 128, 128)


def frame_with_red_at(column: int, row: int, number: int, width: int, height: int, side: int) -> Frame:
    """A grey frame, as a hardware decoder hands it out, with a red square in a grid of squares."""
    y, uv = np.full((height, width), GREY[0], np.uint8), np.full((height // 2, width // 2, 2), 128, np.uint8)
    rows, columns = (slice(place * side, (place + 1) * side) for place in (row, column))
    y[rows, columns] = RED[0]
    half = [slice(span.start // 2, span.stop // 2) for span in (rows, columns)]
    uv[half[0], half[1]] = RED[1:]
    image = NV12Image(y, uv, "bt601", True)
    return Frame(image, number, number * 0.1, START, number * 100_000_000, "hardware")


@pytest.mark.parametrize(("size", "side", "tiles"), [((128, 64), 8, "none"), ((256, 192), 32, (2, 2))])
def test_the_frame_loop_finds_the_same_as_on_the_processor(
    tiny_bundle: Bundle,
    tile_kernels: Any,
    size: tuple[int, int],
    side: int,
    tiles: Literal["none"] | tuple[int, int],
) -> None:
    found: dict[str, list[FrameResult]] = {}
    for engine in ("tensorrt", "onnxruntime"):
        with Pipeline(
            tiny_bundle, load_prompt_bytes(LIST, "red.yaml"), engine_name=engine, tiles=tiles
        ) as pipeline:
            found[engine] = [
                pipeline.process(frame_with_red_at(2 + number, 3, number, *size, side)) for number in range(4)
            ]
    assert tile_kernels.launches[-1][0] == "letterbox_nv12"
    for on_gpu, on_processor in zip(found["tensorrt"], found["onnxruntime"], strict=True):
        assert on_gpu.engine == "tensorrt"
        (place,), (expected,) = on_gpu.scores.places, on_processor.scores.places
        assert place.box == pytest.approx(expected.box, abs=0.05)
        assert place.score == pytest.approx(expected.score, abs=0.02)
        assert on_gpu.counts.prompts["red"].count == 1
