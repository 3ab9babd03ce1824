"""Every message that crosses the broker, as pydantic models. `schemas/` holds their JSON Schemas.

`message.to_payload()` gives the bytes to publish, `Model.from_payload(payload)` reads what arrived.
"""

from __future__ import annotations

from firmware_cfg.messages.ack import AlertAck, AlertAct
from firmware_cfg.messages.base import Box, Message
from firmware_cfg.messages.counts import Counts, Crossings
from firmware_cfg.messages.events import Alert, Event, GeoPoint, Pose
from firmware_cfg.messages.evidence import EvidenceRequest
from firmware_cfg.messages.health import Health, LatencyMs, Queued
from firmware_cfg.messages.prompts import PromptInUse, PromptsAck, PromptsProblem, PromptsState
from firmware_cfg.messages.replay import ReplayAnswer, ReplayRequest
from firmware_cfg.messages.status import Status
from firmware_cfg.messages.thumbnail import ThumbnailRequest

__all__ = [
    "Alert",
    "AlertAck",
    "AlertAct",
    "Box",
    "Counts",
    "Crossings",
    "Event",
    "EvidenceRequest",
    "GeoPoint",
    "Health",
    "LatencyMs",
    "Message",
    "Pose",
    "PromptInUse",
    "PromptsAck",
    "PromptsProblem",
    "PromptsState",
    "Queued",
    "ReplayAnswer",
    "ReplayRequest",
    "Status",
    "ThumbnailRequest",
]
