"""A frame whose tiles are with the engine, and what chooses its windows and hands it over."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edge.engines.base import U8, FrameEngine, ImageEngine, Pending
from edge.frame_result import StageSeconds
from edge.tiling import Interest, only

if TYPE_CHECKING:
    from edge.follow import Box, Followed, Follower, Look
    from edge.frames import Frame, Image
    from edge.lookup import FrameScores
    from edge.prompts.bank import PromptBank
    from edge.tiling import Tiling


@dataclass(slots=True, eq=False)
class InFlight:
    """What `Pipeline.begin` knows, for `Pipeline.finish`.

    Attributes:
        frame, bank: what is looked at, and for what.
        engine, tiling, image_size: by what, in which windows, in tiles of which (width, height).
        looked_at: those windows, x1, y1, x2, y2 in pixels of the frame; None where they are all there are.
        pending: the engine's work.
        preprocess_s, wait_s: wall time of making the tiles, and of standing still until they were through.
        look: how the camera moved since the frame before; None until that was looked for.
    """

    frame: Frame
    bank: PromptBank
    engine: ImageEngine
    tiling: Tiling
    image_size: tuple[int, int]
    looked_at: tuple[Box, ...] | None
    pending: Pending
    preprocess_s: float
    wait_s: float = 0.0
    look: Look | None = None

    def seconds(self, lookup_s: float, followed: Followed) -> StageSeconds:
        """Where the time went, once all is known."""
        return StageSeconds(
            decode=self.frame.read_s,
            preprocess=self.preprocess_s,
            engine=self.pending.seconds,
            wait=self.wait_s,
            lookup=lookup_s,
            motion=followed.motion_s,
            tracking=followed.tracking_s,
        )


class Chooser:
    """Leaves windows of a frame out where nothing of interest is. Frames are then finished one at a time.

    Args:
        follower: tells how the camera moved, and what moved against that.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._tiling: Tiling | None = None
        self._interest: Interest | None = None

    def choose(self, frame: Frame, tiling: Tiling) -> tuple[Tiling, Look]:
        """The windows of `tiling` that this frame is looked at by, and how the camera moved.

        What the choice took counts as the time of the camera's motion.
        """
        began = time.perf_counter()
        look = self._follower.look(frame)
        motion, strange = look.motion, self._follower.strange(look)
        if self._interest is None or self._tiling != tiling:
            self._tiling, self._interest = tiling, Interest(tiling)
            motion = strange = None  # nothing is known of these windows, however well of the camera
        chosen = only(tiling, self._interest.choose(motion, strange))
        return chosen, replace(look, seconds=time.perf_counter() - began)

    def found(self, followed: Followed, scores: FrameScores) -> None:
        """What came of the frame that was chosen for last."""
        if self._interest is not None:
            places = [*(tracked.place for tracked in followed.tracks), *scores.faint]
            self._interest.found([place.box for place in places])

    def forget(self) -> None:
        """The last frame is not finished: the next one is looked at everywhere."""
        self._interest = None


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
