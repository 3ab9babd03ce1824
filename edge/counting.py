"""Tracked places and scene scores of one frame -> the numbers that rules speak about."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge.lookup import FrameScores
    from edge.tracking import TrackedPlace
    from firmware_cfg.prompt_list import PromptList
    from firmware_cfg.rules import Term

_Floats: TypeAlias = NDArray[np.float64]

_FORGET_S = 30.0
"""Longer than any gap that the tracker bridges: a track unseen for this long will not come back."""
_LINE_MARGIN = 0.003
"""Share of the frame's diagonal that a centre must be off a line before it counts as on one side of it."""
_BOX_MARGIN = 0.05
"""The same as a share of the box: a big box jitters more."""


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """One prompt in one frame.

    count         places in this frame (0 for a scene prompt)
    unique        confirmed tracks since the start
    score         calibrated score 0..1 of the best place, or of the scene; 0 when there is none
    raw           the same before calibration
    zones         places with their centre in each zone
    crossings     (line, "in" | "out") -> crossings since the start; `in` is from left to right of the line
    place_scores  track id -> calibrated score, of every place in this frame
    """

    count: int = 0
    unique: int = 0
    score: float = 0.0
    raw: float = 0.0
    zones: Mapping[str, int] = field(default_factory=dict)
    crossings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    place_scores: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """Every prompt of the list in one frame, by id, and the zones that each track's centre is in now."""

    prompts: Mapping[str, PromptCounts]
    track_zones: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def value(self, prompt_id: str, term: Term, zones: Sequence[str] = ()) -> float:
        """The present value of a rule's term. `zones` restricts `count` and `score` to their union.

        Raises KeyError for a prompt, zone or line that the list does not have.
        """
        counts = self.prompts[prompt_id]
        if term.kind in ("count", "score") and zones:
            inside = [score for track, score in counts.place_scores.items() if self.inside(track, zones)]
            return float(len(inside)) if term.kind == "count" else max(inside, default=0.0)
        if term.kind == "count":
            return float(counts.count)
        if term.kind == "unique":
            return float(counts.unique)
        if term.kind == "score":
            return counts.score
        name = term.name or ""
        if term.kind == "count_in":
            return float(counts.zones[name])
        ways = (term.direction,) if term.direction is not None else ("in", "out")
        return float(sum(counts.crossings[name, way] for way in ways))

    def inside(self, track_id: int, zones: Sequence[str]) -> bool:
        """Whether the track's centre is in one of the zones; with no zones the whole frame is meant."""
        return not zones or not self.track_zones[track_id].isdisjoint(zones)


@dataclass(slots=True)
class _Track:
    """What has to be remembered of a track: when it was seen, if it is counted, its side of every line."""

    seen_s: float
    counted: bool = False
    sides: dict[str, tuple[bool, float, float]] = field(
        default_factory=dict
    )  # right of it?, x, y as fractions


class Counter:
    """Counts through a whole source. Not thread-safe."""

    def __init__(self, prompt_list: PromptList) -> None:
        self._objects = tuple(p.id for p in prompt_list.prompts if p.kind == "object")
        self._scenes = tuple(p.id for p in prompt_list.prompts if p.kind == "scene")
        self._zones = {name: np.array(points, dtype=np.float64) for name, points in prompt_list.zones.items()}
        self._lines = {name: np.array(points, dtype=np.float64) for name, points in prompt_list.lines.items()}
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
    ) -> FrameCounts:
        """Counts the tracked places (boxes in pixels of the frame) of the frame captured at `time_s`."""
        self._forget(time_s)
        size = np.array([frame_width, frame_height], dtype=np.float64)
        boxes = np.array([t.place.box for t in tracked], dtype=np.float64).reshape(-1, 4)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        self._note(tracked, time_s)
        for name, line in self._lines.items():
            self._cross(name, line * size, tracked, boxes, centres, size)
        return self._counts(tracked, scores, self._zones_of(centres / size))

    def _forget(self, time_s: float) -> None:
        if time_s < self._time_s:  # another recording: the tracker forgets its tracks too
            self._tracks.clear()
        self._time_s = time_s
        old = [track_id for track_id, track in self._tracks.items() if time_s - track.seen_s > _FORGET_S]
        for track_id in old:
            del self._tracks[track_id]

    def _note(self, tracked: Sequence[TrackedPlace], time_s: float) -> None:
        for item in tracked:
            track = self._tracks.setdefault(item.track_id, _Track(time_s))
            track.seen_s = time_s
            if item.confirmed and not track.counted:
                track.counted = True
                self._unique[item.place.prompt] += 1

    def _cross(
        self,
        name: str,
        line: _Floats,
        tracked: Sequence[TrackedPlace],
        boxes: _Floats,
        centres: _Floats,
        size: _Floats,
    ) -> None:
        """Counts the tracks that went from one clear side of the line (2 x 2 pixels) to the other.

        A thing that waits on the line is on neither side, so its jitter counts nothing.
        """
        start, along = line[0], line[1] - line[0]
        length = float(np.hypot(*along))
        away = (along[0] * (centres[:, 1] - start[1]) - along[1] * (centres[:, 0] - start[0])) / length
        box_size = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
        margin = np.maximum(_LINE_MARGIN * float(np.hypot(*size)), _BOX_MARGIN * box_size)
        for index in np.flatnonzero(abs(away) > margin).tolist():
            item, centre, right = tracked[index], centres[index], bool(away[index] > 0)
            sides = self._tracks[item.track_id].sides
            before = sides.get(name)
            if before is not None and before[0] != right:
                if not item.confirmed:
                    continue  # keep where it came from until it proves to be a thing
                came_from = np.array(before[1:]) * size
                share = _share_at_line(came_from, centre, start, along)
                if 0.0 <= share <= 1.0:
                    self._crossings[item.place.prompt, name, "in" if right else "out"] += 1
            sides[name] = (right, float(centre[0] / size[0]), float(centre[1] / size[1]))

    def _zones_of(self, centres: _Floats) -> list[frozenset[str]]:
        found: list[list[str]] = [[] for _ in range(len(centres))]
        for name, polygon in self._zones.items():
            for index in np.flatnonzero(inside_polygon(centres, polygon)).tolist():
                found[index].append(name)
        return [frozenset(names) for names in found]

    def _counts(
        self, tracked: Sequence[TrackedPlace], scores: FrameScores, zones: Sequence[frozenset[str]]
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
        return FrameCounts(prompts, {item.track_id: zones[i] for i, item in enumerate(tracked)})


def inside_polygon(points: _Floats, polygon: _Floats) -> NDArray[np.bool_]:
    """Which of the points (N, 2) lie inside the polygon (K, 2), by the even-odd rule: (N,) bool."""
    x, y = points[:, :1], points[:, 1:]
    x1, y1 = polygon.T
    x2, y2 = np.roll(polygon, -1, axis=0).T
    spans = (y1 > y) != (y2 > y)
    # A level edge spans no y, so its division by zero is never looked at.
    rise = np.where(y2 == y1, 1.0, y2 - y1)
    crossed: NDArray[np.bool_] = (spans & (x < x1 + (y - y1) * (x2 - x1) / rise)).sum(axis=1) % 2 == 1
    return crossed


def _share_at_line(a: _Floats, b: _Floats, start: _Floats, along: _Floats) -> float:
    """Where the way from a to b meets the line through `start`: 0 at its start, 1 at `start + along`."""
    step = b - a
    across = along[0] * step[1] - along[1] * step[0]
    behind = along[0] * (start[1] - a[1]) - along[1] * (start[0] - a[0])
    meeting = a + step * (behind / across)
    return float((meeting - start) @ along / (along @ along))
