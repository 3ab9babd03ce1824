"""Rules over counts -> raise, update and clear, with hold time, hysteresis and cooldown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["raise", "update", "clear"]
Severity: TypeAlias = Literal["info", "warning", "critical"]
Certainty: TypeAlias = Literal["observed", "likely", "possible"]
CountKind: TypeAlias = Literal["count", "unique", "score", "count_in", "crossing"]
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in an alert's life; raise, updates and clear of one alert share its `alert_id`."""

    kind: Kind
    alert_id: str
    prompt_id: str
    rule_index: int  # position in the prompt's `alerts`
    severity: Severity
    value: float  # of the rule's term, in the unit of count_kind
    count_kind: CountKind
    score: float  # calibrated, 0..1, of the best place or the scene
    raw: float  # the same before calibration; 0 for scenes
    threshold: float | None  # on the calibrated score; None where the list leaves it to the bundle and none was given
    certainty: Certainty
    boxes: tuple[Box, ...]  # x1, y1, x2, y2 in pixels of the frame
    track_ids: tuple[int, ...]
    reason: str  # the rule that held, or why it was closed
