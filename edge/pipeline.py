"""One frame from pixels to counts: letterbox, engine, lookup, tracker, counter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.lookup import FrameScores
from edge.prompts import PromptBank

if TYPE_CHECKING:
    from edge.counting import FrameCounts
    from edge.frames import Frame
    from edge.tracking import TrackedPlace


@dataclass(frozen=True, slots=True, eq=False)
class StageSeconds:
    """Wall time that one frame spent in each stage, in seconds."""

    letterbox: float
    engine: float
    lookup: float
    tracking: float


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """All that the pipeline found in one frame.

    Attributes:
        frame: the frame itself.
        scores: scenes and places.
        tracks: the places with their track ids.
        counts: per-prompt counts, uniques, zones and crossings.
        bank: the prompt bank that this frame was looked up with.
        image_size: (width, height) of the model tile.
        seconds: where the time went.
    """

    frame: Frame
    scores: FrameScores
    tracks: tuple[TrackedPlace, ...]
    counts: FrameCounts
    bank: PromptBank
    image_size: tuple[int, int]
    seconds: StageSeconds
