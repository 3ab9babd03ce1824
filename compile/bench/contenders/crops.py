"""Contenders that tell of whole pictures alone: for the parts of one they are given 3 x 2 tiles of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from compile.bench.contenders.base import Samples, timed_burst
from compile.bench.spec import FRAME, TILES, TILES_AT_ONCE

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


class TilesContender(ABC):
    """A tower that takes pictures and gives each sentence's probability."""

    _pictures: Iterator[npt.NDArray[np.uint8]]

    def burst(self, task: str, frames: int) -> Samples:
        """See Contender."""
        steps = {FRAME: self.look, TILES: self.look_at_tiles, TILES_AT_ONCE: self.look_at_batch}
        return timed_burst(self._pictures, steps[task], frames)

    def close(self) -> None:  # noqa: B027 - nothing runs that would have to be stopped
        """See Contender."""

    def look(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(H, W, 3) uint8 -> (1, sentences) probabilities."""
        from PIL import Image

        return self.probabilities([Image.fromarray(pixels)])

    def look_at_tiles(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(H, W, 3) uint8 -> (6, sentences) probabilities, one tile after the other as the README would."""
        from PIL import Image

        return np.concatenate([self.probabilities([tile]) for tile in tiles_of(Image.fromarray(pixels))])

    def look_at_batch(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """As `look_at_tiles`, all six at once."""
        from PIL import Image

        return self.probabilities(tiles_of(Image.fromarray(pixels)))

    @abstractmethod
    def probabilities(self, pictures: list[Image]) -> npt.NDArray[np.float32]:
        """(pictures, sentences), of one batch."""
