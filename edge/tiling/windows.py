"""Which windows of a frame become tiles, and the tiles themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from edge.engines.base import U8
from edge.letterbox import Letterbox, letterbox

if TYPE_CHECKING:
    from edge.frames import Image

Tiles: TypeAlias = Literal["none", "auto"] | tuple[int, int]
"""Only the whole frame; as many windows as it takes; or so many columns and rows of them."""

OVERLAP = 0.2
"""Share of a window that the next one shows too: what is smaller lies whole in one of them."""
AUTO_SHRINK = 1.5
"""`auto` adds windows until each frame pixel is at least this part of a tile pixel ..."""
AUTO_WINDOWS = 12
"""... or there are this many: each costs what a whole frame costs without tiling."""


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

    def of(self, image: Image) -> Image:
        """This part of the picture: a view, nothing is copied."""
        return image.crop(self.x, self.y, self.width, self.height)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How frames of one size are tiled: `windows` has the whole frame first."""

    windows: tuple[Window, ...]

    @property
    def whole(self) -> Letterbox:
        """Where the whole frame lies in the first tile."""
        return self.windows[0].fit

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the tiles of all windows: (N, height, width, 3)."""
        return (len(self.windows), self.whole.height, self.whole.width, 3)

    @property
    def spans(self) -> tuple[tuple[float, float, float, float], ...]:
        """Of the windows beside the whole frame: x1, y1, x2, y2 in pixels of the frame."""
        return tuple((w.x, w.y, w.x + w.width, w.y + w.height) for w in self.windows[1:])

    def render(self, image: Image, out: U8 | None = None) -> U8:
        """(N, height, width, 3) uint8 RGB tiles of all windows, as the engine takes them.

        Args:
            out: where they go, of that shape; default: a new array.
        """
        tiles = np.empty(self.shape, np.uint8) if out is None else out
        for window, tile in zip(self.windows, tiles, strict=True):
            letterbox(window.of(image), window.fit.width, window.fit.height, out=tile)
        return tiles


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
    span = math.ceil(length / (1 + (parts - 1) * (1 - OVERLAP)))
    span = min(length, max(span, 2 + (length - span) // max(1, parts - 1)))  # even begins must leave no gap
    spans = []
    for part in range(parts):
        begin = (length - span) * part // max(1, parts - 1) // 2 * 2
        spans.append((begin, length if part == parts - 1 else min(length, begin + span)))
    return spans
