"""The camera's motion where no picture or pose told it: what the tracks and the places have in common.

A drift is a shift of the whole picture, so this knows no turn and no zoom. Over water it is all there is.
"""

from __future__ import annotations

import numpy as np

from edge.motion import CameraMotion
from edge.tracking.association import MIN_REACH_PX, near
from edge.tracking.state import Floats, Records, breadth, warp

_MIN_VOTES = 4
_STEER = 0.2
"""Share of a shift of the whole picture that goes into the drift."""


class GuessedShift:
    """The camera's velocity as far as it was ever known: pixels per second, or None."""

    def __init__(self) -> None:
        self._velocity: Floats | None = None

    @property
    def known(self) -> bool:
        """Whether anything ever told it."""
        return self._velocity is not None

    def measured(self, motion: CameraMotion, middle: Floats, elapsed_s: float) -> None:
        """Something better told the motion: the drift is that of the frame's middle."""
        if elapsed_s > 0:
            self._velocity = (motion.moved(middle[None])[0] - middle) / elapsed_s

    def apply(self, tracks: Records, seen: Records, elapsed_s: float) -> CameraMotion:
        """Moves the tracks by the drift, and by what most places are off it; returns both together."""
        shift = np.zeros(2) if self._velocity is None else self._velocity * elapsed_s
        warp(tracks, _shift(shift))
        beyond = _common_shift(tracks[tracks["missed"] == 0], seen)
        warp(tracks, _shift(beyond))
        if elapsed_s > 0 and beyond.any():
            # The first shift is the camera's speed; a later one may be a gust that the next frame takes back.
            more = beyond / elapsed_s
            self._velocity = more if self._velocity is None else self._velocity + _STEER * more
        return _shift(shift + beyond)

    def settle(self, tracks: Records, just_seen: Records, elapsed_s: float) -> None:
        """What most of the tracks just seen move at is the camera's, not theirs."""
        common = _common_velocity(just_seen, elapsed_s)
        if common is not None:
            self._velocity = common if self._velocity is None else self._velocity + common
            tracks["velocity"][(tracks["hits"] > 1) | (tracks["missed"] == 0)] -= common


def _shift(by: Floats) -> CameraMotion:
    matrix = np.eye(3)
    matrix[:2, 2] = by
    return CameraMotion(matrix)


def _common_shift(tracks: Records, seen: Records) -> Floats:
    """How far the picture moved beyond what the tracks expected, (2,) pixels; zero without a majority.

    Every pair of a track and a place of its prompt votes for the shift between them. True pairs agree on one,
    all others spread out.
    """
    none = np.zeros(2)
    if min(len(tracks), len(seen)) < _MIN_VOTES:
        return none
    cell, reach = max(float(np.median(breadth(seen))) / 2, MIN_REACH_PX), 12
    _, _, apart = near(tracks, seen, np.full(len(tracks), reach * cell))
    bins = np.floor(apart / cell).astype(np.int64) + reach
    side = 2 * reach
    votes = np.bincount(bins[:, 0] * side + bins[:, 1], minlength=side * side).reshape(side, side)
    blocks = votes[:-1, :-1] + votes[1:, :-1] + votes[:-1, 1:] + votes[1:, 1:]
    column, row = divmod(int(blocks.argmax()), side - 1)
    if blocks[column, row] <= 1.5 * blocks[reach - 1, reach - 1]:
        column = row = reach - 1  # not clearly better than the block around no shift at all
    if blocks[column, row] < max(_MIN_VOTES, 0.5 * min(len(tracks), len(seen))):
        return none
    inside = (abs(bins - [column + 0.5, row + 0.5]) < 1).all(axis=1)
    shift: Floats = np.median(apart[inside], axis=0)
    return shift


def _common_velocity(tracks: Records, elapsed_s: float) -> Floats | None:
    """The velocity, (2,) pixels per second, that most tracks just seen share; None where there is none."""
    if len(tracks) < 3 or elapsed_s <= 0:
        return None
    velocity: Floats = np.median(tracks["velocity"], axis=0)
    astray = np.linalg.norm(tracks["velocity"] - velocity, axis=1) * elapsed_s
    agree = astray <= np.maximum(0.3 * breadth(tracks), MIN_REACH_PX / 2)
    return velocity if agree.mean() >= 0.6 else None
