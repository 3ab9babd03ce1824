"""One place for each thing that several tiles of a frame show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.candidates import MERGE_CELLS, MERGE_IOU, Candidates, alike, first_of_each, pair_geometry
from edge.engines.base import F32

if TYPE_CHECKING:
    from edge.letterbox import Letterbox
    from edge.tiling.windows import Tiling, Window

CUT_PIXELS = 2.0
"""A box this near, in tile pixels, to a border that is not the frame's is of a thing that may go on there."""
CUT_OVERLAP = 0.5
"""Such a box is part of a thing that was found whole if that thing's box covers this share of it."""

MOST_CANDIDATES = 2000
"""Of all tiles together, the strongest: each is compared with each; a threshold near 0 lets 300 a tile by."""


def merged(found: list[Candidates], tiling: Tiling, places: int, stride: int) -> Candidates:
    """The candidates of all tiles as those of the frame; `cell` counts through the tiles."""
    whole = tiling.whole
    counts = [len(part.owner) for part in found]
    tile = np.repeat(np.arange(len(found)), counts)
    firm = np.concatenate([np.arange(count) < part.firm for count, part in zip(counts, found, strict=True)])
    cut = [_cut(part.box, window, whole) for part, window in zip(found, tiling.windows, strict=True)]
    shifted = [
        part.box + np.array([window.x, window.y] * 2, np.float32)
        for part, window in zip(found, tiling.windows, strict=True)
    ]
    every = Candidates(
        owner=np.concatenate([part.owner for part in found]),
        score=np.concatenate([part.score for part in found]),
        strength=np.concatenate([part.strength for part in found]),
        raw=np.concatenate([part.raw for part in found]),
        box=np.concatenate(shifted),
        cell=np.concatenate([part.cell + places * number for number, part in enumerate(found)]),
        firm=0,
        best=np.max([part.best for part in found], axis=0),
    )
    scale = np.array([window.fit.scale for window in tiling.windows], np.float32)
    # Whole in a window, in the whole frame, cut by a window; the faint after all that are not.
    group = np.where(np.concatenate(cut), 2, tile == 0)
    order = np.lexsort((-every.strength, ~firm))[:MOST_CANDIDATES]
    order = order[np.lexsort((-every.strength[order], group[order], ~firm[order]))]
    radius = (MERGE_CELLS * stride / scale)[tile]
    stays = order[first_of_each(_same_thing(every.box[order], tile[order], radius[order], group[order] == 2))]
    stays = stays[np.lexsort((-every.strength[stays], ~firm[stays]))]
    return every.take(stays, firm=int(firm[stays].sum()))


def _cut(boxes: F32, window: Window, whole: Letterbox) -> NDArray[np.bool_]:
    """(N,) which boxes, in pixels of the window, touch a border of it that is not the frame's."""
    near = CUT_PIXELS / window.fit.scale
    x1, y1, x2, y2 = boxes.T
    across = ((x1 < near) & (window.x > 0)) | (
        (x2 > window.width - near) & (window.x + window.width < whole.frame_width)
    )
    down = ((y1 < near) & (window.y > 0)) | (
        (y2 > window.height - near) & (window.y + window.height < whole.frame_height)
    )
    return np.asarray(across | down, np.bool_)


def _same_thing(
    boxes: F32, tile: NDArray[np.int64], radius: F32, cut: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(N, N) whether the later place (column) is of another tile and shows the thing of the earlier (row)."""
    apart, overlap, area = pair_geometry(boxes)
    part = cut & (overlap > CUT_OVERLAP * area)
    same = (apart < radius * radius) | alike(overlap, area, MERGE_IOU) | part
    return np.asarray(same & (tile[:, None] != tile))
