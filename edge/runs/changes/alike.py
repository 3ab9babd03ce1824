"""Whether two pictures show the same thing in one place: a second opinion before a change is told.

A model that finds a thing from here and not from there has changed its mind, not the ground. So what the one
flight's picture shows inside the box is looked for in the other's, by normalised cross-correlation, which
another light does not change.
"""

from __future__ import annotations

import numpy as np

from edge.runs.changes.looks import facing, transformed
from edge.runs.changes.things import Floats, Side

ALIKE = 0.5
"""Correlation from which on the pictures count as the same; docs/decisions/016 has the measurement."""
SMALLEST_PX = 12
"""Of a kept picture: a smaller box shows nothing to compare."""
_RIM = 1.3
"""What is compared, in sides of the box."""


def likeness(
    here: Side, frame: int, box: Floats, there: Side, other: int, matrix: Floats, at: Floats, reach: float
) -> float | None:
    """Highest correlation, -1 to 1, of a box of one flight's picture with the other's within reach.

    Args:
        here, frame, box: the thing: index of a frame with a picture, (4,) pixels of the frame.
        there, other: index of a frame of the other flight that has a picture.
        matrix: (3, 3) from pixels of the one frame to pixels of the other.
        at, reach: where in the other it should be, and how far off it may be, pixels.

    Returns:
        None where the pictures are too coarse, or the place is too near to the edge.
    """
    import cv2

    first, second = here.picture(frame), there.picture(other)
    if first is None or second is None:
        return None
    scale_here = first.shape[1] / here.frames[frame].width
    scale = second.shape[1] / there.frames[other].width
    centre = (box[:2] + box[2:]) / 2
    corners = np.array([box[:2], box[2:], [box[0], box[3]], [box[2], box[1]]])
    spread = transformed(facing(matrix, centre), corners)
    half = int(np.ceil(_RIM * scale * np.nanmax(np.ptp(spread, axis=0)) / 2))
    slack = int(np.ceil(scale * reach))
    x, y = np.round(at * scale).astype(int)
    if (
        2 * half < SMALLEST_PX
        or min(x, y) - half - slack < 0
        or x + half + slack >= second.shape[1]
        or y + half + slack >= second.shape[0]
    ):
        return None
    # From pixels of the first picture to those of a window round where its centre falls in the second.
    falls = transformed(facing(matrix, centre), centre[None])[0] * scale
    to_window = np.array([[1, 0, half - falls[0]], [0, 1, half - falls[1]], [0, 0, 1]])
    warp = to_window @ np.diag([scale, scale, 1.0]) @ matrix @ np.diag([1 / scale_here, 1 / scale_here, 1.0])
    template = cv2.warpPerspective(first, warp, (2 * half + 1, 2 * half + 1), flags=cv2.INTER_AREA)
    reached = half + slack
    window = second[y - reached : y + reached + 1, x - reached : x + reached + 1]
    return float(cv2.matchTemplate(window, template, cv2.TM_CCOEFF_NORMED).max())
