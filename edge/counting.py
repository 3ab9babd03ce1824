"""Tracked places and scene scores of one frame -> the numbers that rules speak about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """One prompt in one frame.

    count     places in this frame (0 for a scene prompt)
    unique    confirmed tracks since the start
    score     calibrated score 0..1 of the best place, or of the scene; 0 when there is none
    zones     places with their centre in each zone
    crossings (line, "in" | "out") -> crossings since the start
    """

    count: int = 0
    unique: int = 0
    score: float = 0.0
    zones: Mapping[str, int] = field(default_factory=dict)
    crossings: Mapping[tuple[str, str], int] = field(default_factory=dict)
