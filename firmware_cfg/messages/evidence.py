"""`evidence/get`: the control room asks for the picture of an alert, whose hash its event carries."""

from __future__ import annotations

from pydantic import Field

from firmware_cfg.messages.base import Payload, Sha256


class EvidenceRequest(Payload):
    """Answered with the JPEG itself on `evidence/<sha256>`, or an empty payload when it is not kept."""

    sha256: Sha256 = Field(description="`evidence_sha256` of the event.")
