"""Places against the true things: which are found, which places are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from edge.engines.base import EngineOutput
from edge.lookup import Place
from edge.prompts.bank import PromptBank
from edge.runtime import BundleRuntime
from edge.tiling import Tiling, lookup_tiles
from training.evaluation.objects import inside
from training.evaluation.thresholds import log_odds
from training.samples import ObjectSample

KINDS = {
    "vehicle": {"vehicle", "large_vehicle", "car", "van", "truck", "bus", "minibus"},
    "person": {"person", "pedestrian", "people", "human"},
}
"""Prompts and classes that are one kind of thing; things of other classes are neither right nor wrong."""
SIZES = (0.0, 12.0, 20.0, 32.0, 64.0, np.inf)
"""Square root of the box's area, frame pixels: the ends of the size classes."""
BORDER = 3.0
"""Frame pixels: the sets leave out what the frame's border cuts, so a place this near to it is not wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One image, what the engine said of its tiles, and the seconds of tiles, engine and lookup."""

    sample: ObjectSample
    tiling: Tiling
    output: EngineOutput
    seconds: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Matches over a set: `size`, `hit` by true thing; the number of places; the counts' errors by image."""

    size: npt.NDArray[np.float64]
    hit: npt.NDArray[np.bool_]
    found: int
    errors: npt.NDArray[np.int64]

    @property
    def precision(self) -> float:
        """Share of the places that are right; 1 where there are none."""
        return float(self.hit.sum()) / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the things that were found."""
        return float(self.hit.mean())


def tally(
    seen: Sequence[Seen],
    names: Sequence[str],
    runtime: BundleRuntime,
    bank: PromptBank,
    move: float = 0.0,
) -> Tally:
    """Match every image's places, with `move` added to the log-odds of every threshold."""
    if move:
        odds = log_odds(bank.object_thresholds) + move
        bank = replace(bank, object_thresholds=1 / (1 + np.exp(-odds)))
    sizes: list[float] = []
    hits: list[bool] = []
    errors: list[int] = []
    found = 0
    for one in seen:
        stride = runtime.facts.stride
        places = lookup_tiles(one.output, bank, runtime.calibration, one.tiling, stride=stride).places
        for members in KINDS.values():
            mine = np.array([name.lower() in members for name in names])[one.sample.labels]
            asked = [place for place in places if place.prompt in members]
            whole = one.tiling.whole
            hit, counted = matched(asked, one.sample, mine, (whole.frame_width, whole.frame_height))
            sizes += np.sqrt(one.sample.sizes[mine].prod(axis=1)).tolist()
            hits += hit.tolist()
            errors.append(counted - int(mine.sum()))
            found += counted
    return Tally(np.array(sizes), np.array(hits, np.bool_), found, np.array(errors))


def matched(
    places: Sequence[Place],
    sample: ObjectSample,
    mine: npt.NDArray[np.bool_],
    frame_size: tuple[int, int],
) -> tuple[npt.NDArray[np.bool_], int]:
    """Which of the things `mine` are found, and how many places count: less those on what is left open."""
    boxes = np.array([place.box for place in places], np.float64).reshape(-1, 4)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = np.abs(centres[:, None] - sample.centres[mine])
    cost = np.where((apart <= sample.sizes[mine] / 2).all(axis=2), np.hypot(*apart.T).T, 1e9)
    rows, columns = linear_sum_assignment(cost)
    good = cost[rows, columns] < 1e9
    hit = np.zeros(int(mine.sum()), np.bool_)
    hit[columns[good]] = True
    unmatched = np.setdiff1d(np.arange(len(places)), rows[good])
    is_open = inside(centres[unmatched], np.concatenate([sample.ignored, sample.boxes()[~mine]]))
    low, high = boxes[unmatched, :2], boxes[unmatched, 2:]
    is_open |= (low < BORDER).any(axis=1) | (high > np.array(frame_size) - BORDER).any(axis=1)
    return hit, len(places) - int(is_open.sum())
