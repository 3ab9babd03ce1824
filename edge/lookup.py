"""Image embeddings against the PromptBank: scored places and scenes of one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.engines.base import F32


@dataclass(frozen=True, slots=True)
class Place:
    """One thing found in a frame.

    Attributes:
        prompt: id of the object prompt it belongs to.
        score: calibrated score, 0 to 1; at least the prompt's threshold.
        raw: the margin over the background that was calibrated (natural-log units).
        box: x1, y1, x2, y2 in pixels of the source frame, clipped to it.
        embedding: (D + E,) float32 embedding of its cell, a view; None where a test or a replay has none.
    """

    prompt: str
    score: float
    raw: float
    box: tuple[float, float, float, float]
    embedding: F32 | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What the lookup says about one frame.

    Attributes:
        scene: calibrated score (0 to 1) of every scene prompt, by id.
        scene_raw: the cosine behind each of them (-1 to 1).
        places: the places, best score first.
        embedding: (D,) float32 unit embedding of the whole frame; None where a test has none.
    """

    scene: Mapping[str, float]
    places: tuple[Place, ...]
    embedding: F32 | None = field(default=None, compare=False, repr=False)
    scene_raw: Mapping[str, float] = field(default_factory=dict)
