"""How a picture is cut where something is to be told of its parts: three columns, two rows."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS, ROWS = 3, 2


def tiles_of(picture: Image) -> list[Image]:
    """The parts of a picture, row by row; they do not overlap."""
    across = [round(picture.width * column / COLUMNS) for column in range(COLUMNS + 1)]
    down = [round(picture.height * row / ROWS) for row in range(ROWS + 1)]
    return [
        picture.crop((left, top, right, bottom))
        for top, bottom in pairwise(down)
        for left, right in pairwise(across)
    ]
