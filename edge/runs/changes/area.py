"""How much ground two runs saw, and how much of it both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.runs.changes.by_ground import GroundSide
from edge.runs.changes.looks import transformed
from edge.runs.changes.things import Floats

CELL_M = 2.0
"""Side of the squares that the area is counted in; larger where that would be more than MOST_SQUARES."""
MOST_SQUARES = 50e6
"""That are looked at, all frames together: some seconds."""
_MOST_KEPT = 1 << 22
_ROW = 1 << 32


def areas(a: GroundSide, b: GroundSide, shift: Floats) -> tuple[float, float, float]:
    """Square metres that the first run saw, the second, and both.

    Args:
        shift: (2,) metres north, east of the second's positions against the first's.
    """
    extents = [extent for side in (a, b) for extent in side.extents.values()]
    looked_at = float(sum(np.prod(high - low) for low, high in extents))
    cell = max(CELL_M, np.sqrt(looked_at / MOST_SQUARES))
    seen_a, seen_b = _seen(a, cell, np.zeros(2)), _seen(b, cell, shift)
    both = np.intersect1d(seen_a, seen_b, assume_unique=True)
    return len(seen_a) * cell**2, len(seen_b) * cell**2, len(both) * cell**2


def _seen(side: GroundSide, cell: float, shift: Floats) -> NDArray[np.int64]:
    """Numbers of the squares whose centre a run saw, each once; a square has one number for both runs."""
    seen: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    kept = 0
    for index, matrix in side.to_pixels.items():
        frame = side.side.frames[index]
        low, high = np.floor((side.extents[index] - shift) / cell).astype(np.int64)
        north, east = np.meshgrid(*(np.arange(low[k], high[k] + 1) for k in (0, 1)), indexing="ij")
        squares = np.stack([north.ravel(), east.ravel()], axis=1)
        pixels = transformed(matrix, (squares + 0.5) * cell + shift)
        inside = ((pixels >= 0) & (pixels < [frame.width, frame.height])).all(axis=1)
        seen.append(squares[inside] @ np.array([_ROW, 1]))
        kept += len(seen[-1])
        if kept > _MOST_KEPT:  # neighbouring frames show much the same
            seen, kept = [np.unique(np.concatenate(seen))], 0
    return np.unique(np.concatenate(seen))
