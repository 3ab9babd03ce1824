"""Places of one frame -> tracks: which is the same thing as before, with the camera's motion taken out.

Each track moves at a constant velocity, fitted to its last few sightings. What the tracks have in common is
the camera's motion: voting finds it before anything is matched, and things seen for the first time start with
it. So a thing that enters a nadir flight at one edge and leaves at the other, with gaps, stays one track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge.lookup import Place

_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]
_Records: TypeAlias = NDArray[Any]  # of _TRACK

_XY = (np.float64, (2,))
_TRACK = np.dtype(
    [
        ("id", np.int64),
        ("prompt", np.int64),
        ("centre", *_XY),  # pixels of the frame
        ("size", *_XY),
        ("velocity", *_XY),  # pixels per second
        ("hits", np.int64),  # sightings
        ("missed", np.int64),  # updates since the last one
        ("first_s", np.float64),
        ("seen_s", np.float64),
        ("confirmed", np.bool_),
    ]
)

_FIT_SIGHTINGS = 6
"""A track's velocity follows about this many sightings: more are smoother, fewer turn faster."""
_MIN_REACH_PX = 6.0
"""Even the smallest box may jitter this far between frames."""
_MAX_AREA_RATIO = 6.0
_MIN_OVERLAP = 0.3
_MIN_VOTES = 4
_STEER = 0.2
"""Share of a shift of the whole picture that goes into the tracks' velocities."""
_MAX_TRACKS = 1024
"""Keeps the worst frame (hundreds of new false places every time) at a bounded cost."""


@dataclass(frozen=True, slots=True)
class TrackedPlace:
    """A place with the track it belongs to.

    age        seconds of capture time since the track was first seen
    confirmed  seen often enough to count as a thing of its own; stays true for the rest of the track's life
    """

    place: Place
    track_id: int
    age: float
    confirmed: bool


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How patient the tracker is. A gap is bridged while it is within the seconds or within the updates.

    confirm_hits 1 suits unrelated images, where every place is a thing of its own.
    """

    confirm_hits: int = 3
    max_gap_s: float = 2.0
    max_gap_updates: int = 3
    tentative_gap_s: float = 0.5
    tentative_gap_updates: int = 2


class Tracker:
    """Follows places from frame to frame, each prompt's on their own. Not thread-safe."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self._settings = settings if settings is not None else TrackerSettings()
        self._next_id = 1
        self._prompts: dict[str, int] = {}
        self._tracks: _Records = np.zeros(0, dtype=_TRACK)
        self._time_s: float | None = None
        self._flow: _Floats | None = None  # the velocity that the tracks share, as far as it was ever known

    def reset(self) -> None:
        """Forgets every track, as between unrelated images. Ids go on counting and are never used again."""
        self._tracks = np.zeros(0, dtype=_TRACK)
        self._time_s = None
        self._flow = None

    def update(self, places: Sequence[Place], time_s: float) -> tuple[TrackedPlace, ...]:
        """Takes the places of the frame captured at `time_s`; returns them in order, each with its track.

        Time that runs backwards means another recording: every track is forgotten first.
        """
        if self._time_s is not None and time_s < self._time_s:
            self.reset()
        elapsed_s = 0.0 if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        seen = self._sightings(places, time_s)
        tracks = self._tracks
        tracks["centre"] += tracks["velocity"] * elapsed_s
        shift = _common_shift(tracks[tracks["missed"] == 0], seen)
        tracks["centre"] += shift
        if elapsed_s > 0:
            # The first shift is the camera's speed; a later one may be a gust that the next frame takes back.
            tracks["velocity"] += shift / elapsed_s * (1.0 if self._flow is None else _STEER)
        of_track, of_seen = _match(tracks, seen)
        self._follow(of_track, seen[of_seen], time_s)
        self._start(seen, np.setdiff1d(np.arange(len(seen)), of_seen), of_track, elapsed_s)
        seen["id"][of_seen] = tracks["id"][of_track]
        seen["first_s"][of_seen] = tracks["first_s"][of_track]
        seen["confirmed"][of_seen] = tracks["confirmed"][of_track]
        return tuple(
            TrackedPlace(place, track_id, time_s - first_s, confirmed)
            for place, track_id, first_s, confirmed in zip(
                places, seen["id"].tolist(), seen["first_s"].tolist(), seen["confirmed"].tolist(), strict=True
            )
        )

    def _sightings(self, places: Sequence[Place], time_s: float) -> _Records:
        seen: _Records = np.zeros(len(places), dtype=_TRACK)
        if len(places):
            boxes = np.array([place.box for place in places], dtype=np.float64)
            seen["prompt"] = [self._prompts.setdefault(p.prompt, len(self._prompts)) for p in places]
            seen["centre"] = (boxes[:, :2] + boxes[:, 2:]) / 2
            seen["size"] = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
        seen["hits"] = 1
        seen["first_s"] = seen["seen_s"] = time_s
        seen["confirmed"] = self._settings.confirm_hits <= 1
        return seen

    def _follow(self, of_track: _Ints, seen: _Records, time_s: float) -> None:
        """Moves the matched tracks towards what was seen: a running least-squares fit of a straight line."""
        tracks, old = self._tracks, self._tracks[of_track]
        hits = old["hits"] + 1
        fit = np.minimum(hits, _FIT_SIGHTINGS)
        position_gain = 2 * (2 * fit - 1) / (fit * (fit + 1))
        velocity_gain = 6 / (fit * (fit + 1))
        error = seen["centre"] - old["centre"]
        gap_s = np.maximum(time_s - old["seen_s"], 1e-3)
        tracks["missed"] += 1
        tracks["centre"][of_track] = old["centre"] + position_gain[:, None] * error
        tracks["velocity"][of_track] += (velocity_gain / gap_s)[:, None] * error
        tracks["size"][of_track] = (old["size"] + seen["size"]) / 2
        tracks["hits"][of_track] = hits
        tracks["missed"][of_track] = 0
        tracks["seen_s"][of_track] = time_s
        tracks["confirmed"][of_track] |= hits >= self._settings.confirm_hits

    def _start(self, seen: _Records, fresh: _Ints, of_track: _Ints, elapsed_s: float) -> None:
        """Drops what was missed for too long and starts a track for every place that none took."""
        settings, tracks = self._settings, self._tracks
        flow = _common_velocity(tracks[of_track], elapsed_s)
        if flow is not None:
            self._flow = flow
            tracks["velocity"][(tracks["hits"] == 1) & (tracks["missed"] > 0)] = flow
        seen["id"][fresh] = np.arange(self._next_id, self._next_id + len(fresh))
        self._next_id += len(fresh)
        started = seen[fresh]
        started["velocity"] = 0.0 if flow is None else flow
        gap_s = (self._time_s or 0.0) - tracks["seen_s"]
        patience_s = np.where(tracks["confirmed"], settings.max_gap_s, settings.tentative_gap_s)
        patience = np.where(tracks["confirmed"], settings.max_gap_updates, settings.tentative_gap_updates)
        kept = np.concatenate([tracks[(gap_s <= patience_s) | (tracks["missed"] <= patience)], started])
        if len(kept) > _MAX_TRACKS:
            kept = kept[np.lexsort((kept["seen_s"], kept["confirmed"]))[-_MAX_TRACKS:]]
        self._tracks = kept


def _common_shift(tracks: _Records, seen: _Records) -> _Floats:
    """How far the picture moved beyond what the tracks expected, (2,) pixels; zero without a majority.

    Every pair of a track and a place of its prompt votes for the shift between them. True pairs agree on one,
    all others spread out.
    """
    none = np.zeros(2)
    if min(len(tracks), len(seen)) < _MIN_VOTES:
        return none
    cell, reach = max(float(np.median(_breadth(seen))) / 2, _MIN_REACH_PX), 12
    _, _, apart = _near(tracks, seen, np.full(len(tracks), reach * cell))
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
    shift: _Floats = np.median(apart[inside], axis=0)
    return shift


def _near(tracks: _Records, seen: _Records, reach: _Floats) -> tuple[_Ints, _Ints, _Floats]:
    """Pairs of one prompt within each track's reach (T,) along x and y: indices, offsets (K, 2)."""
    # Single precision: this is where the tracker's time goes, and a thousandth of a pixel is enough.
    there, here = seen["centre"].T.astype(np.float32), tracks["centre"].T.astype(np.float32)
    bound = reach.astype(np.float32)[:, None]
    dx, dy = there[0] - here[0][:, None], there[1] - here[1][:, None]
    near = (abs(dx) < bound) & (abs(dy) < bound)
    near &= tracks["prompt"][:, None] == seen["prompt"]
    flat = np.flatnonzero(near)
    t, s = np.divmod(flat, max(len(seen), 1))
    return t, s, np.stack([dx.ravel()[flat], dy.ravel()[flat]], axis=1).astype(np.float64)


def _breadth(things: _Records) -> _Floats:
    """Side of the square that is as large as the box, (N,) pixels."""
    breadth: _Floats = np.sqrt(things["size"][:, 0] * things["size"][:, 1])
    return breadth


def _common_velocity(tracks: _Records, elapsed_s: float) -> _Floats | None:
    """The velocity, (2,) pixels per second, that most tracks just seen share; None where there is none."""
    if len(tracks) < 3 or elapsed_s <= 0:
        return None
    velocity: _Floats = np.median(tracks["velocity"], axis=0)
    astray = np.linalg.norm(tracks["velocity"] - velocity, axis=1) * elapsed_s
    agree = astray <= np.maximum(0.3 * _breadth(tracks), _MIN_REACH_PX / 2)
    return velocity if agree.mean() >= 0.6 else None


def _match(tracks: _Records, seen: _Records) -> tuple[_Ints, _Ints]:
    """Pairs of a track and a place of the same prompt, cheapest first, nothing twice: (indices, indices)."""
    # Nobody knows yet where a thing seen once is going, nor quite where one is that was not seen for a while.
    patience = 0.6 + 0.4 * (tracks["hits"] == 1) + 0.1 * np.minimum(tracks["missed"], 4)
    breadth, widest = _breadth(tracks), _breadth(seen).max(initial=0.0)
    longest = tracks["size"].max(axis=1, initial=0.0)
    t, s, offset = _near(
        tracks, seen, np.maximum(patience * (breadth + widest) / 2, longest).clip(_MIN_REACH_PX)
    )
    reach = np.maximum(patience[t] * (breadth[t] + _breadth(seen)[s]) / 2, _MIN_REACH_PX)
    apart = np.hypot(offset[:, 0], offset[:, 1]) / reach
    overlap = _overlap(tracks[t], seen[s])
    ratio = 2 * abs(np.log(breadth[t] / _breadth(seen)[s]))
    fits = ((apart < 1) | (overlap >= _MIN_OVERLAP)) & (ratio <= np.log(_MAX_AREA_RATIO))
    t, s = t[fits], s[fits]
    cost = (apart - overlap + 0.3 * ratio)[fits]
    # A track that proved itself goes before one that may be a false alarm.
    cost += 0.3 * ~tracks["confirmed"][t] + 0.05 * np.minimum(tracks["missed"][t], 8)
    order = np.argsort(cost, kind="stable")
    pairs: list[tuple[int, int]] = []
    free_track, free_seen = [True] * len(tracks), [True] * len(seen)
    for i, j in zip(t[order].tolist(), s[order].tolist(), strict=True):
        if free_track[i] and free_seen[j]:
            free_track[i] = free_seen[j] = False
            pairs.append((i, j))
    matched = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]


def _overlap(tracks: _Records, seen: _Records) -> _Floats:
    """Intersection over union of the boxes, pair by pair: (K,)."""
    inner = np.minimum(tracks["centre"] + tracks["size"] / 2, seen["centre"] + seen["size"] / 2) - np.maximum(
        tracks["centre"] - tracks["size"] / 2, seen["centre"] - seen["size"] / 2
    )
    common = np.maximum(inner, 0).prod(axis=1)
    iou: _Floats = common / (tracks["size"].prod(axis=1) + seen["size"].prod(axis=1) - common)
    return iou
