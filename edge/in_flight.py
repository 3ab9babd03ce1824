"""A frame whose tiles are with the engine, and what hands it over."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.engines.base import U8, FrameEngine, ImageEngine, Pending

if TYPE_CHECKING:
    from edge.follow import Look
    from edge.frames import Frame, Image
    from edge.prompts.bank import PromptBank
    from edge.tiling import Tiling


@dataclass(slots=True, eq=False)
class InFlight:
    """What `Pipeline.begin` knows, for `Pipeline.finish`.

    Attributes:
        frame, bank: what is looked at, and for what.
        engine, tiling, image_size: by what, in which windows, in tiles of which (width, height).
        pending: the engine's work.
        preprocess_s, wait_s: wall time of making the tiles, and of standing still until they were through.
        look: how the camera moved since the frame before; None until that was looked for.
    """

    frame: Frame
    bank: PromptBank
    engine: ImageEngine
    tiling: Tiling
    image_size: tuple[int, int]
    pending: Pending
    preprocess_s: float
    wait_s: float = 0.0
    look: Look | None = None


class Tiler:
    """Starts engines on frames. Tiles lie in two arrays in turn: the engine may still read the last ones."""

    def __init__(self) -> None:
        self._arrays: list[U8] = []

    def start(
        self, engine: ImageEngine, image: Image, tiling: Tiling, bank: PromptBank
    ) -> tuple[Pending, float]:
        """Give the engine a picture, as tiles or as it is; with the seconds that the tiles took.

        Raises EngineError.
        """
        if isinstance(engine, FrameEngine):
            return engine.start_frame(image, tiling.windows, bank.graph_rows, bank.graph_bias), 0.0
        began = time.perf_counter()
        tiles = tiling.render(image, out=self._next(tiling))
        rendered = time.perf_counter()
        return engine.start(tiles, bank.graph_rows, bank.graph_bias), rendered - began

    def _next(self, tiling: Tiling) -> U8:
        windows, *size = tiling.shape
        kept = self._arrays.pop(0) if len(self._arrays) == 2 else None
        if kept is None or len(kept) < windows or list(kept.shape[1:]) != size:
            kept = np.empty(tiling.shape, np.uint8)
        self._arrays.append(kept)
        return kept[:windows]
