"""`events` (append-only) and `alerts/<alert_id>` (the retained copy of an active alert)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from firmware_cfg.messages.ack import MOST_ACTS, AlertAct
from firmware_cfg.messages.base import Box, Message, MessagePart, Name, Sha256, Unit, UtcTime, Whole

CountKind = Literal["count", "unique", "score", "count_in", "crossing"]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Metres = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Point = tuple[Longitude, Latitude, Metres]


class GeoPoint(MessagePart):
    """A GeoJSON point (RFC 7946)."""

    type: Literal["Point"] = "Point"
    coordinates: tuple[Longitude, Latitude] = Field(description="Longitude and latitude, degrees, WGS 84.")


class Pose(MessagePart):
    """The camera at the moment of capture."""

    latitude: Latitude = Field(description="Degrees, WGS 84.")
    longitude: Longitude = Field(description="Degrees, WGS 84.")
    altitude_m: float | None = Field(None, description="Above mean sea level.")
    height_m: float | None = Field(None, description="Above ground.")
    yaw_deg: float | None = Field(None, description="Of the camera, clockwise from north.")
    pitch_deg: float | None = Field(None, description="Of the camera; -90 looks straight down.")
    roll_deg: float | None = Field(None, description="Of the camera.")


class AlertFacts(Message):
    """What an event and the retained alert have in common."""

    alert_id: Name = Field(description="One id from raise to clear.")
    event_id: Name = Field(
        description="Of this event; in the retained alert: of the latest one. Consumers drop doubles."
    )
    severity: Literal["info", "warning", "critical"] = Field(description="In CAP: Minor, Moderate, Severe.")
    urgency: Literal["immediate", "expected", "future", "past"] = Field(
        description="As in CAP; a clear is `past`."
    )
    certainty: Literal["observed", "likely", "possible"] = Field(
        description="possible: the score is below the prompt's review_below, a person should look."
    )
    seq: Whole = Field(description="Rises by one with every event of this boot_id.")
    boot_id: Name = Field(description="Life of the outbox to which `seq` belongs.")
    observed_at: UtcTime = Field(description="Capture time of the frame, UTC.")
    mono_ns: NonNegativeInt = Field(description="The device's monotonic clock at capture, nanoseconds.")
    clock_synced: bool = Field(description="Whether the device's clock was known to be right.")
    historical: bool = Field(False, description="Sent late, from the backlog: not news of this moment.")
    frame: Whole = Field(description="Number of the frame in its source, from 0.")
    prompt: Name = Field(description="Id of the prompt.")
    prompt_text: tuple[str, ...] = Field(description="What was looked for, in the engineer's words.")
    prompt_list_sha256: Sha256 = Field(description="Of the bytes of the prompt list in force.")
    bundle_sha256: Sha256 = Field(description="Of the manifest of the model bundle.")
    precision: str = Field(description="Variant of the model that ran, such as fp32.")
    score: Unit = Field(description="Calibrated score of the best place, or of the scene.")
    raw_score: float = Field(description="The same before calibration.")
    threshold: Unit | None = Field(description="Threshold in force, on the calibrated score.")
    count: NonNegativeFloat = Field(description="Value of the rule's first term.")
    count_kind: CountKind = Field(description="Which quantity `count` is.")
    frame_size: tuple[PositiveInt, PositiveInt] = Field(description="Width and height, pixels.")
    boxes: tuple[Box, ...] = Field((), description="x1, y1, x2, y2 as fractions of the frame.")
    track_ids: tuple[Whole, ...] = Field((), description="Tracks of the boxes, in the same order.")
    position: GeoPoint | None = Field(
        None, description="Where on the ground the best-scored box stands of those that telemetry can place."
    )
    h_acc_m: Metres | None = Field(
        None, description="Radius around `position` that holds the true place with 95% probability, metres."
    )
    points: tuple[Point | None, ...] = Field(
        (),
        description="Longitude, latitude and h_acc_m of every box, in the same order; null where a box shows"
        " no ground that is known well enough. Empty without telemetry.",
    )
    pose: Pose | None = Field(None, description="The camera, when telemetry tells.")
    evidence_sha256: Sha256 | None = Field(None, description="Of the image crop that can be asked for.")
    reason: str = Field("", description="The rule that held, or why the alert was closed, such as `restart`.")


class Event(AlertFacts):
    """One step in the life of an alert."""

    msg_type: Literal["raise", "update", "clear"] = Field(description="raise comes first, clear last.")


class Alert(AlertFacts):
    """An active alert, retained until it is cleared; its facts are those of its latest event."""

    raised_at: UtcTime = Field(description="Capture time of the frame that raised it, UTC.")
    acts: tuple[AlertAct, ...] = Field(
        (), max_length=MOST_ACTS, description="What operators did about it, in the order of their clocks."
    )

    @classmethod
    def from_event(cls, event: Event, raised_at: UtcTime, acts: tuple[AlertAct, ...] = ()) -> Alert:
        """The retained copy after `event`, which is a raise or an update."""
        facts = {name: getattr(event, name) for name in AlertFacts.model_fields}
        return cls(**facts, raised_at=raised_at, acts=acts)
