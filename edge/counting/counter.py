"""Counts through a whole source: places, things, zones, and what crosses a line.

A line in the image counts what passes it there, whether the thing moves or only the camera: a survey counts
what it flies over. But a thing that stands passes each line once at most, so that a hovering drone that the
wind moves does not count a parked car with every gust. What moves by itself counts every time.
"""

from __future__ import annotations

import logging
import math
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.counting.areas import Area, Positions, inside_polygon, meets, off_line
from edge.counting.counts import FrameCounts, PromptCounts

if TYPE_CHECKING:
    from edge.geo.ground import GroundPoints
    from edge.lookup import FrameScores
    from edge.motion import CameraMotion
    from edge.tracking import TrackedPlace
    from firmware_cfg.prompt_list import PromptList

_Floats: TypeAlias = NDArray[np.float64]

_log = logging.getLogger(__name__)

_FAR_KM = 50.0
"""No flight begins so far from its zones and lines, unless somebody swapped their numbers."""
_FORGET_S, _FORGET_UPDATES = 35.0, 3
"""The tracker bridges no gap beyond both: a track unseen for longer, and in more updates, is gone."""


@dataclass(slots=True)
class _Side:
    """Where a track last was clear of a line.

    seen    in the line's plane, as it was then
    stands  where that spot of the ground is now: the camera's motion carries it along
    """

    right: bool
    seen: _Floats
    stands: _Floats
    crossed: bool = False


@dataclass(slots=True)
class _Track:
    """What has to be remembered of a track.

    seen_s   when it was seen
    missed   updates since
    counted  whether it is among the unique ones
    sides    its side of every line
    """

    seen_s: float
    missed: int = 0
    counted: bool = False
    sides: dict[str, _Side] = field(default_factory=dict)


class Counter:
    """Counts through a whole source. Not thread-safe."""

    def __init__(self, prompt_list: PromptList) -> None:
        self._objects = tuple(p.id for p in prompt_list.prompts if p.kind == "object")
        self._scenes = tuple(p.id for p in prompt_list.prompts if p.kind == "scene")
        self._zones = {name: Area(zone) for name, zone in prompt_list.zones.items()}
        self._lines = {name: Area(line) for name, line in prompt_list.lines.items()}
        areas = (*self._zones.values(), *self._lines.values())
        self._needs_ground = any(area.on_ground for area in areas)
        self._told_unplaced = False
        self._told_far = not self._needs_ground
        self.reset()

    def reset(self) -> None:
        """Starts at zero, as between unrelated images."""
        self._tracks: dict[int, _Track] = {}
        self._unique: Tally[str] = Tally()
        self._crossings: Tally[tuple[str, str, str]] = Tally()  # prompt, line, way
        self._time_s = -math.inf

    def update(
        self,
        tracked: Sequence[TrackedPlace],
        scores: FrameScores,
        frame_width: int,
        frame_height: int,
        time_s: float,
        *,
        ground: GroundPoints | None = None,
        motion: CameraMotion | None = None,
    ) -> FrameCounts:
        """Counts the tracked places (boxes in pixels of the frame) of the frame captured at `time_s`.

        Args:
            tracked: what the tracker gave for this frame.
            scores: the frame's.
            frame_width, frame_height: pixels.
            time_s: seconds since the source began.
            ground: where the tracked places stand, in their order; without it zones and lines on the ground
                see nothing, which is logged once and told as `unplaced`.
            motion: the camera's since the last update (`Tracker.motion`); without it all that passes a line
                in the image counts as moving by itself.
        """
        boxes = np.array([t.place.box for t in tracked], dtype=np.float64).reshape(-1, 4)
        at = Positions(boxes, np.array([frame_width, frame_height], dtype=np.float64), ground)
        self._note(tracked, time_s)
        if ground is not None and not self._told_far:
            self._tell_far(ground)
        if motion is not None:
            self._carry(motion)
        for name, line in self._lines.items():
            self._cross(name, line, tracked, at)
        return self._counts(tracked, scores, self._zones_of(at), self._unplaced(at))

    def _note(self, tracked: Sequence[TrackedPlace], time_s: float) -> None:
        if time_s < self._time_s:  # another recording: the tracker forgets its tracks too
            self._tracks.clear()
        self._time_s = time_s
        for track in self._tracks.values():
            track.missed += 1
        for item in tracked:
            track = self._tracks.setdefault(item.track_id, _Track(time_s))
            track.seen_s, track.missed = time_s, 0
            if item.confirmed and not track.counted:
                track.counted = True
                self._unique[item.place.prompt] += 1
        for track_id, track in list(self._tracks.items()):
            if time_s - track.seen_s > _FORGET_S and track.missed > _FORGET_UPDATES:
                del self._tracks[track_id]

    def _carry(self, motion: CameraMotion) -> None:
        """Takes the spots where tracks last were clear of a line in the image along with the ground."""
        image = {name for name, line in self._lines.items() if not line.on_ground}
        sides = [
            side for track in self._tracks.values() for name, side in track.sides.items() if name in image
        ]
        if sides:
            for side, spot in zip(sides, motion.moved(np.array([s.stands for s in sides])), strict=True):
                side.stands = spot

    def _cross(self, name: str, line: Area, tracked: Sequence[TrackedPlace], at: Positions) -> None:
        """Counts the tracks that went from one clear side of the line to the other.

        A thing that waits on the line is on neither side, so its jitter counts nothing.
        """
        ends, places = line.outline(at), line.places(at)
        away = off_line(places, ends)
        for index in np.flatnonzero(abs(away) > line.margin(at)).tolist():
            item, spot, right = tracked[index], places[index], bool(away[index] > 0)
            sides = self._tracks[item.track_id].sides
            before = sides.get(name)
            crossed = before is not None and before.crossed
            if before is not None and before.right != right:
                if not item.confirmed:
                    continue  # keep where it came from until it proves to be a thing
                moved = bool(off_line(before.stands[None], ends)[0] > 0) != right
                if meets(before.seen, spot, ends) and (moved or not crossed):
                    self._crossings[item.place.prompt, name, "in" if right else "out"] += 1
                    crossed = True
            sides[name] = _Side(right, spot, spot, crossed)

    def _zones_of(self, at: Positions) -> list[frozenset[str]]:
        found: list[list[str]] = [[] for _ in range(len(at.boxes))]
        for name, zone in self._zones.items():
            for index in np.flatnonzero(inside_polygon(zone.places(at), zone.outline(at))).tolist():
                found[index].append(name)
        return [frozenset(names) for names in found]

    def _tell_far(self, ground: GroundPoints) -> None:
        """Warns of zones and lines far away, once: with the first frame that has a position."""
        for kind, areas in (("zone", self._zones), ("line", self._lines)):
            for name, area in areas.items():
                away_km = area.distance_km(ground)
                self._told_far |= not math.isnan(away_km)
                if away_km > _FAR_KM:
                    _log.warning(
                        "%s %s lies %s km from the drone (is it [latitude, longitude]?)",
                        kind,
                        name,
                        f"{away_km:,.0f}",
                    )

    def _unplaced(self, at: Positions) -> int:
        missing = at.unplaced if self._needs_ground else 0
        if missing and not self._told_unplaced:
            self._told_unplaced = True
            _log.warning(
                "zones and lines on the ground do not see %d of %d places: no position (telemetry)",
                missing,
                len(at.boxes),
            )
        return missing

    def _counts(
        self,
        tracked: Sequence[TrackedPlace],
        scores: FrameScores,
        zones: Sequence[frozenset[str]],
        unplaced: int,
    ) -> FrameCounts:
        members: dict[str, list[int]] = {prompt: [] for prompt in self._objects}
        for index, item in enumerate(tracked):
            members[item.place.prompt].append(index)
        ways = [(line, way) for line in self._lines for way in ("in", "out")]
        prompts: dict[str, PromptCounts] = {}
        for prompt, indices in members.items():
            best = max((tracked[i].place for i in indices), key=lambda place: place.score, default=None)
            in_zones = Tally(name for i in indices for name in zones[i])
            prompts[prompt] = PromptCounts(
                count=len(indices),
                unique=self._unique[prompt],
                score=0.0 if best is None else best.score,
                raw=0.0 if best is None else best.raw,
                zones={name: in_zones[name] for name in self._zones},
                crossings={(line, way): self._crossings[prompt, line, way] for line, way in ways},
                place_scores={tracked[i].track_id: tracked[i].place.score for i in indices},
            )
        for prompt in self._scenes:
            prompts[prompt] = PromptCounts(
                score=scores.scene.get(prompt, 0.0), raw=scores.scene_raw.get(prompt, 0.0)
            )
        return FrameCounts(prompts, {item.track_id: zones[i] for i, item in enumerate(tracked)}, unplaced)
