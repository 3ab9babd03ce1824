"""`thumbnail/get`: the control room asks what the camera sees; answered on `thumbnail` with a JPEG."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from firmware_cfg.messages.base import Payload

LEAST_KIB, MOST_KIB = 2, 64


class ThumbnailRequest(Payload):
    """The newest frame as a whole, small; an empty answer before the first frame."""

    max_kib: Annotated[int, Field(ge=LEAST_KIB, le=MOST_KIB)] = Field(
        32, description="Bytes that the picture may have, in KiB."
    )
