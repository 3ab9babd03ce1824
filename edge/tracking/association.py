"""Which place is which track's: by where it is expected, how large it is, and how it looks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.tracking.appearance import Looks, strangeness
from edge.tracking.state import Floats, Ints, Records, breadth, completed, sight_variance

MIN_REACH_PX = 6.0
"""Even the smallest box may jitter this far between frames."""
_SIGMAS = 4.0
_LEAST_REACH, _MOST_REACH = 0.7, 1.1
"""Bounds of how far from its expected place a thing may be, in breadths."""
_MAX_AREA_RATIO = 6.0
_MIN_OVERLAP = 0.3
_LOOK = 1.0
"""What it costs to look as different as two things of the frame usually do."""


def match(
    tracks: Records, seen: Records, open_to: NDArray[np.bool_], looks: Looks, seen_looks: Looks
) -> tuple[Ints, Ints]:
    """Pairs of a track that is open to them and a place of its prompt, nothing twice: (indices, indices)."""
    offered = np.flatnonzero(open_to)
    if not (len(offered) and len(seen)):
        return offered[:0], offered[:0]
    tracks = tracks[offered]
    side, seen_side = breadth(tracks), breadth(seen)
    sigma = _SIGMAS * np.sqrt(tracks["var_centre"])
    widest = (side + seen_side.max(initial=0.0)) / 2
    outmost = np.maximum(_MOST_REACH * widest, tracks["size"].max(axis=1, initial=0.0))
    t, s, _ = near(tracks, seen, np.maximum(outmost, MIN_REACH_PX))
    expected, whole = tracks[t], completed(tracks[t], seen[s])
    offset, whole_side = whole["centre"] - expected["centre"], breadth(whole)
    mean = (side[t] + whole_side) / 2
    reach = np.sqrt(sigma[t] ** 2 + _SIGMAS**2 * sight_variance(whole))
    reach = np.maximum(np.clip(reach, _LEAST_REACH * mean, _MOST_REACH * mean), MIN_REACH_PX)
    apart = np.hypot(offset[:, 0], offset[:, 1]) / reach
    overlap = overlaps(expected, whole)
    ratio = 2 * abs(np.log(side[t] / whole_side))
    fits = ((apart < 1) | (overlap >= _MIN_OVERLAP)) & (ratio <= np.log(_MAX_AREA_RATIO))
    t, s = t[fits], s[fits]
    cost = (apart - overlap + 0.3 * ratio)[fits]
    # Where neither has another choice, it does not matter how they look.
    choice = (np.bincount(t, minlength=len(tracks))[t] > 1) | (np.bincount(s, minlength=len(seen))[s] > 1)
    cost[choice] += _LOOK * strangeness(looks, seen_looks, offered[t[choice]], s[choice])
    # A track that proved itself goes before one that may be a false alarm.
    cost += 0.3 * ~tracks["confirmed"][t] + 0.05 * np.minimum(tracks["missed"][t], 8)
    i, s = _cheapest(t, s, cost, len(tracks), len(seen))
    return offered[i], s


def near(tracks: Records, seen: Records, reach: Floats) -> tuple[Ints, Ints, Floats]:
    """Pairs of one prompt within each track's reach (T,) along x and y: indices, offsets (K, 2)."""
    # Single precision: this is where the tracker's time goes, and a thousandth of a pixel is enough.
    there, here = seen["centre"].T.astype(np.float32), tracks["centre"].T.astype(np.float32)
    bound = reach.astype(np.float32)[:, None]
    dx, dy = there[0] - here[0][:, None], there[1] - here[1][:, None]
    close = (abs(dx) < bound) & (abs(dy) < bound)
    flat = np.flatnonzero(close)
    t, s = np.divmod(flat, max(len(seen), 1))
    same = tracks["prompt"][t] == seen["prompt"][s]
    if not same.all():
        flat, t, s = flat[same], t[same], s[same]
    return t, s, np.stack([dx.ravel()[flat], dy.ravel()[flat]], axis=1).astype(np.float64)


def overlaps(tracks: Records, seen: Records) -> Floats:
    """Intersection over union of the boxes, pair by pair: (K,)."""
    inner = np.minimum(tracks["centre"] + tracks["size"] / 2, seen["centre"] + seen["size"] / 2) - np.maximum(
        tracks["centre"] - tracks["size"] / 2, seen["centre"] - seen["size"] / 2
    )
    common = np.maximum(inner, 0).prod(axis=1)
    iou: Floats = common / (tracks["size"].prod(axis=1) + seen["size"].prod(axis=1) - common)
    return iou


def _cheapest(t: Ints, s: Ints, cost: Floats, tracks: int, seen: int) -> tuple[Ints, Ints]:
    """Takes the cheapest pair, then the cheapest of what is left, and so on."""
    order = np.argsort(cost, kind="stable")
    pairs: list[tuple[int, int]] = []
    free_track, free_seen = [True] * tracks, [True] * seen
    for i, j in zip(t[order].tolist(), s[order].tolist(), strict=True):
        if free_track[i] and free_seen[j]:
            free_track[i] = free_seen[j] = False
            pairs.append((i, j))
    matched = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]
