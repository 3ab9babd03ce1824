"""The tracker: Kalman filter, camera motion, and two rounds of association.

First every track takes the place that fits it best; then the confirmed ones that went without look among the
places too faint to count by themselves (Zhang et al., "ByteTrack", ECCV 2022). All of it happens in a picture
from which the camera's motion was taken, so a thing that stands still stands still, whatever the drone does;
while that motion is measured, things that left the frame are remembered where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.motion import CameraMotion
from edge.tracking.appearance import Looks, blend, looks_of
from edge.tracking.association import match
from edge.tracking.guessed_shift import GuessedShift
from edge.tracking.patience import TrackerSettings, kept_waiting
from edge.tracking.state import (
    TRACK,
    Floats,
    Ints,
    Records,
    begin,
    completed,
    correct,
    predict,
    warp,
)

if TYPE_CHECKING:
    from edge.lookup import Place
    from edge.optical_flow import Box

_MAX_TRACKS = 1024
"""Keeps the worst frame (hundreds of new false places every time) at a bounded cost."""
_EDGE_PX = 1.5
"""A box that comes this near to the edge of the frame goes on beyond it."""


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


class Tracker:
    """Follows places from frame to frame, each prompt's on their own. Not thread-safe.

    Args:
        settings: how patient it is.
        embedding_width: how many numbers of a place's embedding tell what it looks like (the bundle's D);
            0 tracks by boxes alone.
    """

    def __init__(self, settings: TrackerSettings | None = None, *, embedding_width: int = 0) -> None:
        self._settings = settings if settings is not None else TrackerSettings()
        self._next_id = 1
        self._prompts: dict[str, int] = {}
        self._frame_size: tuple[int, int] | None = None
        self._width = embedding_width
        self.reset()

    def reset(self) -> None:
        """Forgets every track, as between unrelated images. Ids go on counting, none is used again."""
        self._tracks: Records = np.zeros(0, dtype=TRACK)
        self._looks: Looks = looks_of((), self._width)  # row by row of the tracks
        self._time_s: float | None = None
        self._shift = GuessedShift()
        self._motion: CameraMotion | None = None

    @property
    def motion(self) -> CameraMotion | None:
        """The camera's motion as the last update took it, measured or guessed; None at a first frame."""
        return self._motion

    def update(
        self,
        places: Sequence[Place],
        time_s: float,
        *,
        faint: Sequence[Place] = (),
        motion: CameraMotion | None = None,
        frame_size: tuple[int, int] | None = None,
        looked_at: Sequence[Box] | None = None,
    ) -> tuple[TrackedPlace, ...]:
        """Takes the places of the frame captured at `time_s`; returns them with their tracks.

        Time that runs backwards and a frame of another size mean another recording: every track is forgotten
        first.

        Args:
            places: what counts by itself.
            time_s: seconds since the source began.
            faint: what counts only where it goes on with a confirmed track.
            motion: the camera's since the last update; None makes the tracker guess a shift.
            frame_size: width and height in pixels; without it nothing is remembered outside of the frame.
            looked_at: x1, y1, x2, y2 of the parts of the frame that were looked at; None is all of it. What
                stands elsewhere in the frame was not missed.

        Returns:
            All `places` in their order, then those of the `faint` that a track took which was seen well not
            long ago. The others tell it where it is, and count for nothing.
        """
        if (self._time_s is not None and time_s < self._time_s) or frame_size != self._frame_size:
            self.reset()
        self._frame_size = frame_size
        first, elapsed_s = self._time_s is None, time_s - (time_s if self._time_s is None else self._time_s)
        self._time_s = time_s
        seen, weak = self._sightings(places, time_s), self._sightings(faint, time_s)
        tracks = self._tracks
        predict(tracks, elapsed_s, blind=motion is None)
        if motion is not None:
            warp(tracks, motion)
            self._shift.measured(motion, self._middle(), elapsed_s)
        if first:
            self._motion = None
        else:
            self._motion = motion if motion is not None else self._shift.apply(tracks, seen, elapsed_s)
        tracks["missed"] += self._due(looked_at)
        looks = looks_of(places, self._width)
        of_track, of_seen = self._associate(seen, looks, self._in_frame())
        taken = np.ones(len(tracks), np.bool_)
        taken[of_track] = False
        waiting = self._in_frame() & taken & tracks["confirmed"]
        tracks["firm_s"][of_track] = time_s
        of_track_too, of_weak = self._associate(weak, looks_of(faint, self._width), waiting)
        goes_on = time_s - tracks["firm_s"][of_track_too] <= self._settings.faint_s
        just_seen = tracks[of_track]
        if motion is None:
            self._shift.settle(tracks, just_seen, elapsed_s)
        self._forget(measured=motion is not None)
        fresh = np.setdiff1d(np.arange(len(seen)), of_seen)
        self._start(seen, looks, fresh, elapsed_s)
        went_on = np.sort(of_weak[goes_on])
        return (
            *_tracked(places, seen, time_s),
            *_tracked([faint[i] for i in went_on.tolist()], weak[went_on], time_s),
        )

    def _sightings(self, places: Sequence[Place], time_s: float) -> Records:
        seen: Records = np.zeros(len(places), dtype=TRACK)
        if len(places):
            boxes = np.array([place.box for place in places], dtype=np.float64)
            seen["prompt"] = [self._prompts.setdefault(p.prompt, len(self._prompts)) for p in places]
            seen["centre"] = (boxes[:, :2] + boxes[:, 2:]) / 2
            seen["size"] = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
            if self._frame_size is not None:
                seen["cut_low"] = boxes[:, :2] <= _EDGE_PX
                seen["cut_high"] = boxes[:, 2:] >= np.array(self._frame_size) - _EDGE_PX
        seen["hits"] = 1
        seen["first_s"] = seen["seen_s"] = seen["firm_s"] = time_s
        seen["confirmed"] = self._settings.confirm_hits <= 1
        return seen

    def _middle(self) -> Floats:
        return np.array(self._frame_size or (0, 0), np.float64) / 2

    def _in_frame(self) -> NDArray[np.bool_]:
        """Tracks whose box may show in the frame: (T,) bool; all of them where its size is not known."""
        tracks = self._tracks
        if self._frame_size is None:
            return np.ones(len(tracks), np.bool_)
        near_low = tracks["centre"] > -tracks["size"]
        inside: NDArray[np.bool_] = near_low.all(axis=1) & (
            tracks["centre"] < np.array(self._frame_size) + tracks["size"]
        ).all(axis=1)
        return inside

    def _due(self, looked_at: Sequence[Box] | None) -> NDArray[np.bool_]:
        """Tracks that would have been seen: (T,) bool. Outside of the frame nobody looks, as ever."""
        centre = self._tracks["centre"]
        if looked_at is None or self._frame_size is None:
            return np.ones(len(centre), np.bool_)
        parts = np.array(looked_at, np.float64).reshape(-1, 4)
        within = np.all((centre[:, None] >= parts[:, :2]) & (centre[:, None] < parts[:, 2:]), axis=2)
        outside = np.any((centre < 0) | (centre >= self._frame_size), axis=1)
        return np.asarray(within.any(axis=1) | outside, np.bool_)

    def _associate(self, seen: Records, looks: Looks, open_to: NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """Gives places to the tracks that are open to them; both learn of each other."""
        tracks = self._tracks
        of_track, of_seen = match(tracks, seen, open_to, self._looks, looks)
        if not len(of_track):
            return of_track, of_seen
        follow = correct(tracks[of_track], completed(tracks[of_track], seen[of_seen]))
        follow["seen_s"] = seen["seen_s"][of_seen]
        follow["confirmed"] |= follow["hits"] >= self._settings.confirm_hits
        tracks[of_track] = follow
        blend(self._looks, of_track, looks[of_seen])
        for name in ("id", "first_s", "confirmed"):
            seen[name][of_seen] = follow[name]
        return of_track, of_seen

    def _forget(self, *, measured: bool) -> None:
        """Drops what was missed for too long. `measured`: what is out of the frame is where it should be."""
        kept = kept_waiting(
            self._tracks, self._time_s or 0.0, self._settings, measured=measured, frame_size=self._frame_size
        )
        if not kept.all():
            self._tracks, self._looks = self._tracks[kept], self._looks[kept]

    def _start(self, seen: Records, looks: Looks, fresh: Ints, elapsed_s: float) -> None:
        """Starts a track for every place that none took."""
        if not len(fresh):
            return
        seen["id"][fresh] = np.arange(self._next_id, self._next_id + len(fresh))
        self._next_id += len(fresh)
        started = seen[fresh]
        begin(started, blind_s=None if self._shift.known else elapsed_s or 0.1)
        self._tracks = np.concatenate([self._tracks, started])
        self._looks = np.concatenate([self._looks, looks[fresh]])
        if len(self._tracks) > _MAX_TRACKS:
            best = np.lexsort((self._tracks["seen_s"], self._tracks["confirmed"]))[-_MAX_TRACKS:]
            self._tracks, self._looks = self._tracks[best], self._looks[best]


def _tracked(places: Sequence[Place], seen: Records, time_s: float) -> list[TrackedPlace]:
    return [
        TrackedPlace(place, track_id, time_s - first_s, confirmed)
        for place, track_id, first_s, confirmed in zip(
            places, seen["id"].tolist(), seen["first_s"].tolist(), seen["confirmed"].tolist(), strict=True
        )
    ]
