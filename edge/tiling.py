"""A large frame as overlapping model inputs: the windows, their tiles, and the places back in the frame.

A thing of ten pixels is lost when a 4K frame shrinks to one tile. Windows of the frame are shrunk less, and
each is a tile of its own in the engine's batch, beside the whole frame: that one finds what is larger than a
window, and gives the scenes and the embedding. Slicing and merging follow Akyon et al., "Slicing Aided Hyper
Inference" (arXiv 2202.06934); here the tile that holds a thing whole is preferred to those that cut it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.candidates import (
    MERGE_CELLS,
    MERGE_IOU,
    Candidates,
    alike,
    find_candidates,
    first_of_each,
    pair_geometry,
)
from edge.engines.base import F32, U8, EngineOutput
from edge.frames import I420Image, RgbImage
from edge.letterbox import Letterbox, letterbox
from edge.lookup import FrameScores, frame_scores, place_margins

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.prompts.bank import PromptBank

Tiles: TypeAlias = Literal["none", "auto"] | tuple[int, int]
"""Only the whole frame; as many windows as it takes; or so many columns and rows of them."""

OVERLAP = 0.2
"""Share of a window that the next one shows too: what is smaller lies whole in one of them."""
AUTO_SHRINK = 1.5
"""`auto` adds windows until each frame pixel is at least this part of a tile pixel ..."""
AUTO_WINDOWS = 12
"""... or there are this many: each costs what a whole frame costs without tiling."""
CUT_PIXELS = 2.0
"""A box this near, in tile pixels, to a border that is not the frame's is of a thing that may go on there."""
CUT_OVERLAP = 0.5
"""Such a box is part of a thing that was found whole if that thing's box covers this share of it."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the frame that becomes one tile. `x`, `y` are even: chroma is halved; all in frame pixels."""

    x: int
    y: int
    fit: Letterbox

    @property
    def width(self) -> int:
        """Columns, frame pixels."""
        return self.fit.frame_width

    @property
    def height(self) -> int:
        """Rows, frame pixels."""
        return self.fit.frame_height

    def of(self, image: I420Image | RgbImage) -> I420Image | RgbImage:
        """This part of the picture: a view, nothing is copied."""
        rows, columns = slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)
        if isinstance(image, RgbImage):
            return RgbImage(image.pixels[rows, columns])
        half_rows = slice(self.y // 2, (self.y + self.height + 1) // 2)
        half_columns = slice(self.x // 2, (self.x + self.width + 1) // 2)
        u, v = image.u[half_rows, half_columns], image.v[half_rows, half_columns]
        return I420Image(image.y[rows, columns], u, v, image.standard, image.full_range)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How frames of one size are tiled: `windows` has the whole frame first."""

    windows: tuple[Window, ...]

    @property
    def whole(self) -> Letterbox:
        """Where the whole frame lies in the first tile."""
        return self.windows[0].fit

    def render(self, image: I420Image | RgbImage) -> U8:
        """(N, height, width, 3) uint8 RGB tiles of all windows, as the engine takes them."""
        tiles = [
            letterbox(window.of(image), window.fit.width, window.fit.height)[0] for window in self.windows
        ]
        return tiles[0][None] if len(tiles) == 1 else np.stack(tiles)


@lru_cache(maxsize=64)
def tiles_for(frame_width: int, frame_height: int, image_size: tuple[int, int], wanted: Tiles) -> Tiling:
    """The tiling of frames of a size.

    Args:
        image_size: (width, height) of the model tile.
        wanted: see Tiles; `(1, 1)` is what "none" is.

    Raises:
        ValueError: an empty frame or tile, or fewer than one column or row.
    """
    whole = Window(0, 0, Letterbox.fit(frame_width, frame_height, *image_size))
    if wanted == "none":
        return Tiling((whole,))
    columns, rows = _enough(frame_width, frame_height, image_size) if wanted == "auto" else wanted
    if min(columns, rows) < 1:
        raise ValueError(f"cannot tile a frame into {columns} x {rows} windows")
    if columns * rows == 1:
        return Tiling((whole,))
    windows = [
        Window(left, top, Letterbox.fit(right - left, bottom - top, *image_size))
        for top, bottom in _spans(frame_height, rows)
        for left, right in _spans(frame_width, columns)
    ]
    return Tiling((whole, *windows))


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
        output: what the engine returned for `tiling.render`, `bank.rows` and `bank.bias`.
        bank, calibration, stride: see `lookup`.

    Raises:
        EngineError: the output does not fit the bank, or holds numbers that are not numbers.
        ValueError: the output is not of the tiling.
    """
    images, places = output.place_box.shape[:2]
    if images != len(tiling.windows):
        raise ValueError(
            f"the engine's output is of {images} tiles, not of the tiling's {len(tiling.windows)}"
        )
    found = [
        find_candidates(
            place_margins(output, index, bank), output.place_box[index], bank, calibration, window.fit, stride
        )
        for index, window in enumerate(tiling.windows)
    ]
    embeddings = output.place_embedding.reshape(images * places, output.place_embedding.shape[2])
    merged = found[0] if images == 1 else _merged(found, tiling, places, stride)
    return frame_scores(merged, embeddings, output, 0, bank, calibration)


def _enough(frame_width: int, frame_height: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows of windows shrunk by AUTO_SHRINK at most, or as little as AUTO_WINDOWS allow."""
    shrink = AUTO_SHRINK
    while True:
        columns = _parts(frame_width / (image_size[0] * shrink))
        rows = _parts(frame_height / (image_size[1] * shrink))
        if columns * rows <= AUTO_WINDOWS:
            return columns, rows
        shrink *= 1.05


def _parts(ratio: float) -> int:
    """How many windows with OVERLAP cover `ratio` times the length of one."""
    return max(1, math.ceil((ratio - OVERLAP) / (1 - OVERLAP) - 1e-9))


def _spans(length: int, parts: int) -> list[tuple[int, int]]:
    """Begin (even) and end of the windows along a side, the first at its begin and the last at its end."""
    span = min(length, math.ceil(length / (1 + (parts - 1) * (1 - OVERLAP))))
    spans = []
    for part in range(parts):
        begin = (length - span) * part // max(1, parts - 1) // 2 * 2
        spans.append((begin, length if part == parts - 1 else min(length, begin + span)))
    return spans


def _merged(found: list[Candidates], tiling: Tiling, places: int, stride: int) -> Candidates:
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
    order = np.lexsort((-every.strength, group, ~firm))
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
