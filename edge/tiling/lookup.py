"""What the engine says of a frame's tiles -> the scores and places of the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.candidates import Candidates, find_candidates
from edge.engines.base import F32, EngineOutput
from edge.lookup import FrameScores, frame_scores, place_margins
from edge.tiling.merge import merged

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.prompts.bank import PromptBank
    from edge.tiling.windows import Tiling


def lookup_tiles(
    output: EngineOutput,
    bank: PromptBank,
    calibration: Calibration,
    tiling: Tiling,
    *,
    stride: int = 8,
) -> FrameScores:
    """Score a tiled frame: `edge.lookup.lookup` on every tile, then one place for each thing.

    Places of different tiles that show one thing are merged. What a window holds whole stays before what only
    the coarser whole frame shows, and that before what a window's border cuts. Scenes and embedding are the
    whole frame's. Of one tile alone it is `lookup`.

    Args:
        output: what the engine returned for `tiling.render`, `bank.graph_rows` and `bank.graph_bias`.
        bank, calibration, stride: see `lookup`.

    Raises:
        EngineError: the output does not fit the bank, or holds numbers that are not numbers.
        ValueError: the output is not of the tiling.
    """
    found = candidates(output, bank, calibration, tiling, stride=stride)
    return frame_scores(found, flat(output.place_embedding), output, 0, bank, calibration)


def candidates(
    output: EngineOutput,
    bank: PromptBank,
    calibration: Calibration,
    tiling: Tiling,
    *,
    stride: int = 8,
    everything: bool = False,
) -> Candidates:
    """What `lookup_tiles` makes its places of; `cell` counts in the `flat` arrays of the output.

    Arguments and errors as there; everything: see `find_candidates`.
    """
    images, places = output.place_box.shape[:2]
    if images != len(tiling.windows):
        raise ValueError(
            f"the engine's output is of {images} tiles, not of the tiling's {len(tiling.windows)}"
        )
    found = [
        find_candidates(
            place_margins(output, index, bank),
            output.place_box[index],
            bank,
            calibration,
            window.fit,
            stride,
            everything=everything,
        )
        for index, window in enumerate(tiling.windows)
    ]
    return found[0] if images == 1 else merged(found, tiling, places, stride)


def flat(of_places: F32) -> F32:
    """(tiles, places, n) of an output as (tiles * places, n), a view."""
    tiles, places, wide = of_places.shape
    rows: F32 = of_places.reshape(tiles * places, wide)
    return rows
