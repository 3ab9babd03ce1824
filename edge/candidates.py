"""Which of a graph's places may count: who owns each, how it scores, and which of them show one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.letterbox import Letterbox
    from edge.prompts.bank import PromptBank

# Two places are one thing when their centres are nearer than this many cells, which joins neighbouring cells
# claimed by different prompts but never two peaks of one map, or when their boxes overlap more than this.
MERGE_CELLS = 1.5
MERGE_IOU = 0.5
# A place is faint when its odds are at least this share of the odds of its prompt's threshold.
FAINT_ODDS = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The N places of an image that may count: those that reach their prompt's threshold, then faint ones.

    Each of the two groups is in the order of `strength`, greatest first.

    Attributes:
        owner: (N,) int64, index of the object prompt in `layout.object_ids`.
        score: (N,) float32, calibrated, 0 to 1.
        strength: (N,) float32, what was calibrated: the margin after the prompt's bias and temperature.
        raw: (N,) float32, the margin before them.
        box: (N, 4) float32, x1 y1 x2 y2 in pixels of the frame, clipped to it.
        cell: (N,) int64, its number among the graph's places.
        firm: how many reach their threshold.
        best: (number of object prompts,) float32, highest score of the places each owns, faint or fainter.
    """

    owner: NDArray[np.int64]
    score: F32
    strength: F32
    raw: F32
    box: F32
    cell: NDArray[np.int64]
    firm: int
    best: F32

    def take(self, which: NDArray[np.intp], *, firm: int) -> Candidates:
        """Some of them, in this order, of which the first `firm` reach their threshold."""
        return Candidates(
            self.owner[which],
            self.score[which],
            self.strength[which],
            self.raw[which],
            self.box[which],
            self.cell[which],
            firm,
            self.best,
        )


def find_candidates(
    margins: F32,
    boxes: F32,
    bank: PromptBank,
    calibration: Calibration,
    letterbox: Letterbox,
    stride: int,
    *,
    everything: bool = False,
) -> Candidates:
    """The candidates of one image, those that show one thing merged.

    Args:
        margins: (M, number of object prompts) float32, over the background.
        boxes: (M, 4) float32, x1 y1 x2 y2 in pixels of the model tile.
        bank, calibration, letterbox, stride: see `edge.lookup.lookup`.
        everything: count each peak as faint that is below its threshold, however far.

    Raises:
        EngineError: margins are not numbers.
    """
    prompts = margins.shape[1]
    if not prompts:
        return _nothing()
    moved = bank.object_correction.apply(margins)
    owner = moved.argmax(axis=1)
    every = np.arange(len(owner))
    strength = moved[every, owner]
    if np.isnan(strength).any():
        raise EngineError("the engine gave place logits that are not numbers")
    score = calibration.object_score(strength)
    # A threshold of 0 lets every peak through, and still nothing that is none.
    present = (score > 0) & letterbox.holds(boxes)
    best = np.zeros(prompts, np.float32)
    np.maximum.at(best, owner[present], score[present])
    firm = score >= bank.object_thresholds[owner]
    faint = everything | (score >= faint_thresholds(bank.object_thresholds)[owner])
    wanted = np.flatnonzero(present & (firm | faint))
    # By strength: scores near 1 are equal in float32 long before their margins are.
    wanted = wanted[np.lexsort((-strength[wanted], ~firm[wanted]))]
    wanted = wanted[merge_places(boxes[wanted], MERGE_CELLS * stride, MERGE_IOU)]
    return Candidates(
        owner=owner[wanted],
        score=score[wanted],
        strength=strength[wanted],
        raw=margins[wanted, owner[wanted]],
        box=letterbox.to_frame(boxes[wanted]),
        cell=wanted,
        firm=int(firm[wanted].sum()),
        best=best,
    )


def faint_thresholds(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores (0 to 1) whose odds are FAINT_ODDS of the odds of these."""
    odds = FAINT_ODDS * thresholds
    return np.asarray(odds / (odds + (1 - thresholds)))


def merge_places(boxes: F32, radius: float, iou: float) -> NDArray[np.intp]:
    """Greedy merge of places that show one thing.

    Args:
        boxes: (N, 4) float32 x1 y1 x2 y2, best place first.
        radius: a place goes if its centre is nearer than this to a kept one's.
        iou: or if its box overlaps a kept one's by more than this intersection over union.

    Returns:
        Indices of the places that stay, ascending.
    """
    apart, overlap, area = pair_geometry(boxes)
    clash = (apart < radius * radius) | alike(overlap, area, iou)
    np.fill_diagonal(clash, False)
    return first_of_each(clash)


def pair_geometry(boxes: F32) -> tuple[F32, F32, F32]:
    """Squared distances of centres (N, N), common areas (N, N) and areas (N,) of boxes (N, 4), pixels."""
    x1, y1, x2, y2 = boxes.T
    cx, cy = (x1 + x2) * 0.5, (y1 + y2) * 0.5
    width = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    height = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    apart = (cx[:, None] - cx) ** 2 + (cy[:, None] - cy) ** 2
    return apart, np.maximum(width, 0) * np.maximum(height, 0), (x2 - x1) * (y2 - y1)


def alike(overlap: F32, area: F32, iou: float) -> NDArray[np.bool_]:
    """(N, N) whether the intersection over union exceeds `iou`, without dividing by zero."""
    return np.asarray(overlap * (1 + iou) > iou * (area[:, None] + area), np.bool_)


def first_of_each(same: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Greedy choice: who shows the same thing as an earlier one that stays, goes.

    Args:
        same: (N, N) whether column shows the thing of row, nobody's own; read where the column comes later.

    Returns:
        Indices of those that stay, ascending.
    """
    stays = np.ones(len(same), np.bool_)
    for best in np.flatnonzero(same.any(axis=1)):
        if stays[best]:
            stays[best + 1 :] &= ~same[best, best + 1 :]
    return np.flatnonzero(stays)


def _nothing() -> Candidates:
    none, numbers = np.zeros(0, np.float32), np.zeros(0, np.int64)
    return Candidates(numbers, none, none, none, np.zeros((0, 4), np.float32), numbers, 0, none)
