"""`counts/<prompt>`: retained, coalesced."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from firmware_cfg.messages.base import Message, MessagePart, Name, Unit, UtcTime, Whole


class Crossings(MessagePart):
    """Crossings of one line since the session began."""

    in_: Whole = Field(0, alias="in", description="From the left of the directed line to its right.")
    out: Whole = Field(0, description="From right to left.")


class Counts(Message):
    """The latest numbers of one prompt."""

    prompt: Name = Field(description="Id of the prompt.")
    kind: Literal["object", "scene"] = Field("object", description="A scene has a score only.")
    observed_at: UtcTime = Field(description="Capture time of the frame, UTC.")
    frame: Whole = Field(description="Number of the frame in its source, from 0.")
    count: Whole = Field(0, description="Places in this frame.")
    unique: Whole = Field(0, description="Different objects since the session began.")
    score: Unit = Field(description="Calibrated score of the best place, or of the scene; 0 without a place.")
    threshold: Unit | None = Field(None, description="Threshold in force, on the calibrated score.")
    zones: dict[Name, Whole] = Field({}, description="Places in each zone of the list.")
    crossings: dict[Name, Crossings] = Field({}, description="Crossings of each line of the list.")
