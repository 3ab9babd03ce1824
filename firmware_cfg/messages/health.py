"""`health`: retained, coalesced."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat

from firmware_cfg.messages.base import Message, MessagePart, Sha256, Whole


class LatencyMs(MessagePart):
    """From a frame's arrival to its counts, milliseconds, over the last interval."""

    p50: NonNegativeFloat
    p95: NonNegativeFloat
    p99: NonNegativeFloat


class Queued(MessagePart):
    """Messages that wait in the outbox."""

    alert: Whole = Field(0, description="Raises and clears.")
    update: Whole = Field(0, description="Updates of alerts.")
    telemetry: Whole = Field(0, description="Counts and health.")
    bytes: Whole = Field(0, description="Size of all of them.")
    shed: Whole = Field(0, description="Messages dropped for lack of room since the session began.")
    unwritten: Whole = Field(
        0, description="Raises, updates and clears in memory only: the disk is full or read-only."
    )


class Health(Message):
    """How the device is doing."""

    uptime_s: NonNegativeFloat = Field(description="Since the session began.")
    frames: Whole = Field(description="Frames processed since the session began.")
    fps: NonNegativeFloat = Field(description="Frames per second over the last interval.")
    latency_ms: LatencyMs | None = Field(None, description="None until a frame was processed.")
    frame_age_s: NonNegativeFloat | None = Field(
        None, description="Since the newest frame came from the source; None until one was processed."
    )
    dropped: Whole = Field(0, description="Frames left out because the model was too slow.")
    skipped: dict[str, Whole] = Field(
        {}, description="Frames that could not be read, or were missed while a camera was away, by cause."
    )
    camera_outages: Whole = Field(0, description="How often the camera was lost, or not there at first.")
    camera_problem: str | None = Field(
        None, description="Why the camera sends nothing just now; None while it does."
    )
    telemetry_refused: dict[str, Whole] = Field(
        {}, description="Telemetry that could not be true, and frames without any, by cause."
    )
    unplaced: Whole = Field(
        0,
        description="Things in the newest frame that zones and lines on the ground do not see, because nobody"
        " knows where they are.",
    )
    drift: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the pictures that the model was calibrated on that are less odd than the newest"
        " frames: from 0.95 on it is out of its terrain; known ground stands anywhere below. None where that"
        " is not known.",
    )
    alerts_active: Whole = Field(0, description="Alerts that are raised and not cleared.")
    queued: Queued = Field(Queued(), description="The outbox.")
    engine: str = Field(description="Inference engine, such as openvino.")
    precision: str = Field(description="Variant of the model that runs, such as fp32.")
    image_size: tuple[int, int] | None = Field(None, description="Model input, width and height.")
    bundle_sha256: Sha256 = Field(description="Of the manifest of the model bundle.")
    native: bool = Field(description="Whether the native letterbox is in use.")
    clock_synced: bool = Field(description="Whether the device's clock is known to be right.")
    temperature_c: float | None = Field(None, description="Hottest sensor of the device.")
    power_w: NonNegativeFloat | None = Field(None, description="What the device takes, where it is measured.")
    throttled: bool | None = Field(None, description="Whether heat slows a processor down just now.")
    memory_mib: NonNegativeFloat | None = Field(None, description="Resident memory of the daemon.")
