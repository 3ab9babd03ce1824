"""The numbers of one frame that rules speak about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firmware_cfg.rules import Term


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """One prompt in one frame.

    count         places in this frame (0 for a scene prompt)
    unique        confirmed tracks since the start
    score         calibrated score 0..1 of the best place, or of the scene; 0 when there is none
    raw           the same before calibration
    zones         places in each zone: by their centre in the image, or by where they stand on the ground
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
    """Every prompt of the list in one frame.

    prompts      by id
    track_zones  the zones that each track is in now
    unplaced     tracks that no zone or line on the ground can see, because nobody knows where they stand;
                 0 where the list has none of those
    """

    prompts: Mapping[str, PromptCounts]
    track_zones: Mapping[int, frozenset[str]] = field(default_factory=dict)
    unplaced: int = 0

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
        """Whether the track is in one of the zones; with no zones the whole frame is meant."""
        return not zones or not self.track_zones[track_id].isdisjoint(zones)
