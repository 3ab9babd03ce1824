"""Pictures that drones sent, ready for the page: the JPEG itself, and where the boxes lie on it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

from console.services import Services
from firmware_cfg.messages.base import Box

_COMMENT = 0xFE  # JPEG's marker for a comment
_SCAN = 0xDA  # after it come the pixels
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def picture(jpeg: bytes, boxes: Sequence[Box]) -> dict[str, Any]:
    """`src` (a data URL: the picture is nowhere but in the page), its size, and boxes as fractions of it."""
    crop = crop_of(jpeg)
    on_it = [moved for box in boxes if (moved := _moved(box, crop)) is not None]
    src = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    return {"src": src, "bytes": len(jpeg), "boxes": on_it, "crop": crop}


def crop_of(jpeg: bytes) -> Box:
    """Which part of the frame a picture shows: its comment says so. The whole frame where none does."""
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF and jpeg[place + 1] != _SCAN:
        length = int.from_bytes(jpeg[place + 2 : place + 4], "big")
        if jpeg[place + 1] == _COMMENT:
            return _read_crop(jpeg[place + 4 : place + 2 + length])
        place += 2 + max(length, 2)
    return WHOLE


def _read_crop(comment: bytes) -> Box:
    try:
        crop = json.loads(comment)["crop"]
        left, top, right, bottom = (float(value) for value in crop)
    except (ValueError, TypeError, KeyError):
        return WHOLE
    inside = 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    return (left, top, right, bottom) if inside else WHOLE


def _moved(box: Box, crop: Box) -> Box | None:
    width, height = crop[2] - crop[0], crop[3] - crop[1]
    corners = (box[0] - crop[0], box[1] - crop[1], box[2] - crop[0], box[3] - crop[1])
    left, top, right, bottom = (
        min(max(value / side, 0.0), 1.0) for value, side in zip(corners, (width, height) * 2, strict=True)
    )
    return (left, top, right, bottom) if left < right and top < bottom else None


async def boxes_of(services: Services, device: str, sha256: str) -> Sequence[Box]:
    """Boxes of the event that the picture is of: the first that names it, which is the raise."""
    for (name, alert_id), alert in services.room.alerts.items():
        if name == device and alert.evidence_sha256 == sha256:
            if alert.evidence_boxes:
                return alert.evidence_boxes
            known = await asyncio.to_thread(services.history.events, device, alert_id, 1000)
            return next((event.boxes for event in known if event.msg_type == "raise"), alert.boxes)
    return ()
