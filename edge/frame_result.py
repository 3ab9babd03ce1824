"""What the pipeline found in one frame, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.counting import FrameCounts
    from edge.frames import Frame
    from edge.geo.ground import GroundPoints
    from edge.lookup import FrameScores
    from edge.prompts.bank import PromptBank
    from edge.tracking import TrackedPlace


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Time that one frame spent in each stage, in seconds; wall time unless it says otherwise.

    Stages overlap: the engine works while the frame loop is at `motion`, and at the frame before.

    Attributes:
        decode: processor time of reading and decoding, in the source's thread; 0 where nobody measured it.
        preprocess: tiles out of planes; 0 where the engine makes its tiles itself.
        engine: how long the engine worked on it, without waiting for its turn.
        wait: how long the frame loop stood still for the engine.
        lookup: places and scenes out of the engine's output.
        motion: how the camera moved, and which windows are of interest.
        tracking: tracks, ground and counts.
        publish: alerts, and what is written for the control room; 0 outside of a daemon.
    """

    decode: float = 0.0
    preprocess: float = 0.0
    engine: float = 0.0
    wait: float = 0.0
    lookup: float = 0.0
    motion: float = 0.0
    tracking: float = 0.0
    publish: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """All that the pipeline found in one frame.

    Attributes:
        frame: the frame itself.
        scores: scenes and places.
        tracks: the places with their track ids: those of `scores.places` in their order, then the faint ones
            that go on with a track.
        ground: where the tracks stand, in their order; None without a camera or a pose.
        counts: per-prompt counts, uniques, zones and crossings.
        bank: the prompt bank that this frame was looked up with.
        engine, precision: what ran, such as "openvino" and "fp32"; never "auto".
        image_size: (width, height) of the model tile.
        seconds: where the time went.
        independent: the frame is an unrelated image: its unique counts are its own, no running total.
    """

    frame: Frame
    scores: FrameScores
    tracks: tuple[TrackedPlace, ...]
    ground: GroundPoints | None
    counts: FrameCounts
    bank: PromptBank
    engine: str
    precision: str
    image_size: tuple[int, int]
    seconds: StageSeconds
    independent: bool
