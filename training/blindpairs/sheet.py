"""A set of pairs as one picture."""

from __future__ import annotations

import io
import textwrap

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edge.engines.base import U8
from training.blindpairs.set_file import BlindPairSet
from training.errors import DataError
from training.pools import read_rgb

SHOWN = 24
_COLUMNS = 3
_SIDE, _GAP, _LINE, _FONT = 224, 8, 19, 14
_WIDTH = 2 * _SIDE + _GAP
_INK, _GOOD, _BAD, _GROUND = (30, 36, 34), (21, 128, 61), (200, 30, 58), (250, 250, 248)


def thumbnail(found: BlindPairSet, name: str, side: int = _SIDE) -> U8:
    """An image of the set in a grey square of `side` pixels, whole and in its own shape; RGB.

    An image that is not there any more is a grey square.
    """
    square = np.full((side, side, 3), 128, np.uint8)
    try:
        pixels = read_rgb(found.folder / name)
    except DataError:
        return square
    zoom = side / max(pixels.shape[:2])
    high, wide = (max(1, round(length * zoom)) for length in pixels.shape[:2])
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    top, left = (side - high) // 2, (side - wide) // 2
    square[top : top + high, left : left + wide] = cv2.resize(pixels, (wide, high), interpolation=how)
    return square


def contact_sheet(found: BlindPairSet, right: NDArray[np.bool_] | None, shown: int = SHOWN) -> bytes:
    """PNG of the first pairs with their cosines and questions.

    right: (Q, 2) which statement of each question found its image: it is green then, else red.
    """
    font = ImageFont.load_default(_FONT)
    tiles = [_tile(found, number, right, font) for number in range(min(shown, len(found.pairs)))]
    rows = [tiles[start : start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]
    heights = [max(tile.height for tile in row) for row in rows]
    size = (
        _COLUMNS * _WIDTH + (_COLUMNS + 1) * 3 * _GAP,
        sum(heights) + (len(rows) + 1) * 3 * _GAP,
    )
    sheet = Image.new("RGB", size, _GROUND)
    y = 3 * _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (3 * _GAP + column * (_WIDTH + 3 * _GAP), y))
        y += height + 3 * _GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _tile(
    found: BlindPairSet, number: int, right: NDArray[np.bool_] | None, font: ImageFont.FreeTypeFont
) -> Image.Image:
    pair = found.pairs[number]
    lines = [(f"{number + 1}   model {pair.model:.2f}   encoder {pair.encoder:.2f}", _INK)]
    for index, question in enumerate(found.questions):
        if question.pair != number:
            continue
        for side, statement in enumerate((question.first, question.second)):
            colour = _INK if right is None else _GOOD if right[index, side] else _BAD
            said = f"{question.pattern}, {('left', 'right')[side]}: {statement}"
            lines += [(part, colour) for part in textwrap.wrap(said, 62)]
    tile = Image.new("RGB", (_WIDTH, _SIDE + _GAP + _LINE * len(lines)), _GROUND)
    for side, name in enumerate((pair.first, pair.second)):
        tile.paste(Image.fromarray(thumbnail(found, name)), (side * (_SIDE + _GAP), 0))
    draw = ImageDraw.Draw(tile)
    for line, (text, colour) in enumerate(lines):
        draw.text((0, _SIDE + _GAP + line * _LINE), text, colour, font)
    return tile
