"""How long a track waits for a thing that is not seen.

What moves is soon gone from where it was. What stands can be waited for, as far as the camera's motion tells
where it should be: behind a bridge, or outside of the frame until the camera comes back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.tracking.state import Floats, Records, breadth

_STANDS = 0.5
"""What moves at less than this, in breadths per second, stands."""
_SURE = 3.0
"""What leaves the frame moves if its speed is as many sigmas: at the edge boxes change by themselves."""
_FAR = 2.0
"""A thing outside of the frame is forgotten beyond this many frame sides."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How patient the tracker is. A gap is bridged while it is within the seconds or within the updates.

    confirm_hits 1 suits unrelated images, where every place is a thing of its own. While the camera's motion
    is measured, things that stand wait longer: `standing_gap_s`, and `outside_gap_s` where it does not look.
    Faint places count for `faint_s` after the last that counted by itself: they bridge flicker, no more.
    """

    confirm_hits: int = 3
    max_gap_s: float = 2.0
    max_gap_updates: int = 3
    tentative_gap_s: float = 0.5
    tentative_gap_updates: int = 2
    standing_gap_s: float = 10.0
    outside_gap_s: float = 30.0
    faint_s: float = 1.0


def kept_waiting(
    tracks: Records,
    time_s: float,
    settings: TrackerSettings,
    *,
    measured: bool,
    frame_size: tuple[int, int] | None,
) -> NDArray[np.bool_]:
    """(T,) which tracks to keep. `measured`: what is out of sight is where it should be."""
    gap_s = time_s - tracks["seen_s"]
    patience_s = np.where(tracks["confirmed"], settings.max_gap_s, settings.tentative_gap_s)
    patience = np.where(tracks["confirmed"], settings.max_gap_updates, settings.tentative_gap_updates)
    kept: NDArray[np.bool_] = (gap_s <= patience_s) | (tracks["missed"] <= patience)
    if measured:
        kept |= _stands_by(tracks, gap_s, settings, frame_size)
    return kept


def _stands_by(
    tracks: Records, gap_s: Floats, settings: TrackerSettings, frame_size: tuple[int, int] | None
) -> NDArray[np.bool_]:
    """(T,) confirmed things out of sight that stand; they are kept where they are."""
    speed, slow = np.linalg.norm(tracks["velocity"], axis=1), _STANDS * breadth(tracks)
    patience_s = np.full(len(tracks), settings.standing_gap_s)
    if frame_size is not None:
        low, high = tracks["centre"] - tracks["size"] / 2, tracks["centre"] + tracks["size"] / 2
        outside = ((low < 0) | (high > frame_size)).any(axis=1)
        off = abs(tracks["centre"] - np.array(frame_size) / 2).max(axis=1)
        patience_s[outside] = settings.outside_gap_s
        patience_s[off > _FAR * max(frame_size)] = 0.0
        left = outside & (tracks["missed"] == 1)
        slow[left] = np.maximum(slow, _SURE * np.sqrt(tracks["var_velocity"]))[left]
    waits: NDArray[np.bool_] = (speed < slow) & tracks["confirmed"] & (tracks["missed"] > 0)
    tracks["velocity"][waits] = 0.0
    return waits & (gap_s <= patience_s)
