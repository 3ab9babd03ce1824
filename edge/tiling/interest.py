"""Which windows of a frame are worth a look: where something moved, is followed, or was found lately.

The whole frame is always looked at, and beside what is of interest one resting window in turn: each is seen
again within as many frames as there are windows. What moves is what the camera's motion does not explain in
two small pictures; things of a few pixels in a large frame are too small for that, and wait for their turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.tiling.windows import Tiling

if TYPE_CHECKING:
    from edge.frames import Pixels
    from edge.motion import CameraMotion
    from edge.optical_flow import Box

_Boxes: TypeAlias = NDArray[np.float64]  # (N, 4) x1 y1 x2 y2, pixels of the frame

LATELY = 5
"""Where something was found is looked at for so many frames more, though nothing is there any longer."""
_GREY_LEVELS = 24
"""What differs by less than this is noise of the camera or of its compression."""
_LEAST_AREA = 3
"""Of what moved, pixels of the small picture."""
_MARGIN = 0.5
"""How far from where it was a thing may be by now, in its own lengths ..."""
_MARGIN_PX = 4.0
"""... and at least this, pixels of the frame."""


class Interest:
    """Chooses the windows of each frame in turn. Not thread-safe.

    For every frame `choose`, and once it is known what is there, `found`. The second may come after the next
    frames' `choose`.

    Args:
        tiling: all there are; another size of frames takes another Interest.
    """

    def __init__(self, tiling: Tiling) -> None:
        self._tiling = tiling
        spans = [(w.x, w.y, w.x + w.width, w.y + w.height) for w in tiling.windows]
        self._spans: _Boxes = np.array(spans, np.float64)
        self._waited = np.arange(len(spans))[::-1].copy()  # frames since each was looked at
        self._things: deque[_Boxes] = deque(maxlen=LATELY)  # as found, carried along with the camera
        # For each frame whose finds are open the motions after it; None where one of those is not known.
        self._since: deque[list[CameraMotion] | None] = deque()

    def choose(self, motion: CameraMotion | None, strange: Pixels | None) -> tuple[int, ...]:
        """The windows that this frame is looked at by, ascending; 0, the whole frame, is always first.

        All of them where the camera's motion is not known, as at a first frame: then nothing says what moved,
        nor where what was found is now.

        Args:
            motion: the camera's since the frame before.
            strange: see `MotionEstimator.strangeness`.
        """
        windows = len(self._spans)
        if motion is None or strange is None:
            self._things.clear()
            self._since = deque([None] * len(self._since))
            chosen = np.ones(windows, np.bool_)
        else:
            for motions in self._since:
                if motions is not None:
                    motions.append(motion)
            for number, boxes in enumerate(self._things):
                self._things[number] = _carried(boxes, motion)
            chosen = self._worthwhile(np.concatenate([self._moved(strange), *self._things]))
        self._since.append([])
        self._waited += 1
        self._waited[chosen] = 0
        return tuple(np.flatnonzero(chosen).tolist())

    def found(self, boxes: Iterable[Box]) -> None:
        """What is in the earliest frame of which this was not told: its tracks and its faint places.

        Finds of before the camera's motion was last unknown are passed over: nobody knows where they are now.
        """
        motions = self._since.popleft() if self._since else None
        if motions is None:
            return
        things = np.array(list(boxes), np.float64).reshape(-1, 4)
        for motion in motions:
            things = _carried(things, motion)
        self._things.append(things)

    def _worthwhile(self, boxes: _Boxes) -> NDArray[np.bool_]:
        """(windows,) which to look at, so that each of the boxes is seen whole, if any window can."""
        chosen = np.zeros(len(self._spans), np.bool_)
        chosen[0] = True
        if len(chosen) == 1:
            return chosen
        chosen[1 + int(self._waited[1:].argmax())] = True
        holds, meets = self._held(boxes)
        too_large = ~holds.any(axis=1)
        chosen[1:] |= meets[too_large].any(axis=0)
        holds = holds[~too_large]
        holds = holds[~(holds & chosen[1:]).any(axis=1)]
        while len(holds):  # the window that shows most of what is left, until nothing is
            best = int(holds.sum(axis=0).argmax())
            chosen[1 + best] = True
            holds = holds[~holds[:, best]]
        return chosen

    def _held(self, boxes: _Boxes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(N, windows without the whole frame) which show a box whole, and which any of it."""
        size = boxes[:, 2:] - boxes[:, :2]
        margin = np.maximum(_MARGIN * size, _MARGIN_PX)
        frame = self._spans[0, 2:]
        low, high = (boxes[:, :2] - margin).clip(0, frame), (boxes[:, 2:] + margin).clip(0, frame)
        inside = (high > low).all(axis=1)  # what left the frame is nowhere to be seen
        low, high = low[inside, None], high[inside, None]
        begin, end = self._spans[1:, :2], self._spans[1:, 2:]
        holds = np.all((low >= begin) & (high <= end), axis=2)
        meets = np.all((high > begin) & (low < end), axis=2)
        return holds, meets

    def _moved(self, strange: Pixels) -> _Boxes:
        """Boxes of what moved by itself."""
        import cv2

        clear = np.asarray(strange > _GREY_LEVELS, np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(clear)
        parts = np.asarray(stats, np.float64)[1:]
        parts = parts[parts[:, cv2.CC_STAT_AREA] >= _LEAST_AREA]
        scale = self._spans[0, 2:] / [strange.shape[1], strange.shape[0]]
        low = parts[:, :2] * scale
        return np.hstack([low, low + parts[:, 2:4] * scale])


def only(tiling: Tiling, which: Sequence[int]) -> Tiling:
    """The tiling of these windows alone, 0 (the whole frame) first."""
    if not which or which[0] != 0:
        raise ValueError(f"the whole frame, window 0, must be the first of {tuple(which)}")
    return tiling if len(which) == len(tiling.windows) else Tiling(tuple(tiling.windows[n] for n in which))


def _carried(boxes: _Boxes, motion: CameraMotion) -> _Boxes:
    """The boxes where the camera's motion takes them, as large as it makes them."""
    if not len(boxes):
        return boxes
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    growth = np.sqrt(abs(np.linalg.det(motion.stretched(centre)))).clip(0.5, 2.0)
    centre, half = motion.moved(centre), size * growth[:, None] / 2
    return np.hstack([centre - half, centre + half])
